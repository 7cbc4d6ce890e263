// Package client calls the operator API. Everything in it but this file is
// generated from httpapi/openapi.yaml; it promises what that contract says
// and adds nothing: no retries, no waiting, no configuration.
//
// NewClientWithResponses gives a client for a base URL, WithRequestEditorFn
// adds the Authorization header. An answer that the contract does not name
// leaves every parsed field nil: look at StatusCode first.
package client
