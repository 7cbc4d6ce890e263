package httpapi

import (
	"context"
	"net/http"
	"time"

	"behest/command"
)

// healthWithin bounds the look at the store: who probes has its own patience,
// and a store that takes longer is not ready.
const healthWithin = 5 * time.Second

func (h handlers) GetMe(ctx context.Context, _ GetMeRequestObject) (GetMeResponseObject, error) {
	who := aboutOf(ctx).who
	me := GetMe200JSONResponse{User: who.User, Roles: []Role{}, ServerVersion: h.version, Solo: h.solo}
	for _, name := range who.Roles.Names() {
		me.Roles = append(me.Roles, Role(name))
	}
	me.ExpiresAt = timeOf(who.ExpiresAt)
	u, err := h.reads.User(ctx, who.User)
	switch {
	case err == nil:
		me.Grants = viewGrants(u.Grants)
	case command.CodeOf(err) != command.CodeNotFound: // removed a moment ago
		return nil, err
	}
	return me, nil
}

func (h handlers) GetLive(context.Context, GetLiveRequestObject) (GetLiveResponseObject, error) {
	return GetLive200JSONResponse{Status: HealthStatusOk}, nil
}

func (h handlers) GetReady(ctx context.Context, _ GetReadyRequestObject) (GetReadyResponseObject, error) {
	if h.closing.Err() != nil {
		return nil, command.Errorf(command.CodeUnavailable, "the server is shutting down")
	}
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	if err := h.reads.Health(ctx); err != nil {
		return nil, &command.Error{Code: command.CodeUnavailable, Msg: "the store does not take work", Err: err}
	}
	return GetReady200JSONResponse{Status: HealthStatusOk}, nil
}

func (h handlers) GetContract(context.Context, GetContractRequestObject) (GetContractResponseObject, error) {
	return contractAnswer(h.contract), nil
}

// contractAnswer is the contract as it was made once, at the start.
type contractAnswer []byte

func (b contractAnswer) VisitGetContractResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(b)
	return err
}

func (h handlers) GetDocs(context.Context, GetDocsRequestObject) (GetDocsResponseObject, error) {
	return h.docs, nil
}

func (h handlers) GetMetrics(ctx context.Context, _ GetMetricsRequestObject) (GetMetricsResponseObject, error) {
	if h.metrics == nil {
		return nil, command.Errorf(command.CodeNotFound, "this server keeps no metrics")
	}
	return metricsAnswer{h.metrics, aboutOf(ctx).echo.Request()}, nil
}

// metricsAnswer lets the metrics' own handler answer.
type metricsAnswer struct {
	handler http.Handler
	r       *http.Request
}

func (m metricsAnswer) VisitGetMetricsResponse(w http.ResponseWriter) error {
	m.handler.ServeHTTP(w, m.r)
	return nil
}
