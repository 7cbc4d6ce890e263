package httpapi

// The contract is openapi.yaml, written by hand. What follows from it is
// generated, and committed: `go generate ./httpapi` must change nothing.

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config server.gen.yaml openapi.yaml
//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config client/client.gen.yaml openapi.yaml
