package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"cardea/internal/view"
)

// describeBackend puts what [API.Backend] serves into the document. The framework does not serve it: forms and
// GET are taken beside JSON, and fields that are not known are ignored, as EMQX's templates may send any.
func (s *server) describeBackend() {
	describeEMQX[view.EMQXLogin, view.EMQXVerdict](s, op{
		id: "emqxAuthn", path: backendObject + "/authn", summary: "For EMQX: who connects with a token",
		right: "backend:authn on " + backendObject, example: `{"username":"pump-1","password":"cardea_dev_…","clientid":"pump-1","peerhost":"10.1.2.3"}`,
	})
	describeEMQX[view.EMQXAccess, view.EMQXVerdict](s, op{
		id: "emqxAuthz", path: backendObject + "/authz", summary: "For EMQX: may a client publish or subscribe",
		right:   "backend:authz on " + backendObject,
		example: `{"credential":"7Gq0bXv2LmNp","clientid":"pump-1","peerhost":"10.1.2.3","action":"publish","topic":"db/append/example","qos":"1","retain":"false"}`,
	})
	describeEMQX[view.EMQXScramUser, view.EMQXScramKeys](s, op{
		id: "emqxScram", path: backendObject + "/scram", summary: "For EMQX: the keys of a SCRAM user; 404 if there is none",
		right: "backend:scram on " + backendObject, example: `{"username":"alice","clientid":"alice-1","peerhost":"10.1.2.3"}`,
	})
}

func describeEMQX[I, O any](s *server, o op) {
	o.method, o.outside = http.MethodPost, true
	h := s.describe(o)
	h.Description += "\n\nThe fields may also come as a form, or without a token in them as the query of a GET."
	schemas := s.huma.OpenAPI().Components.Schemas
	in := schemas.Schema(reflect.TypeFor[I](), true, "")
	h.RequestBody.Required = true
	h.RequestBody.Content["application/json"].Schema = in
	h.RequestBody.Content["application/x-www-form-urlencoded"] = &huma.MediaType{Schema: in}
	h.Responses["200"] = &huma.Response{
		Description: "Answered", Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[O](), true, "")}},
	}
	s.huma.OpenAPI().AddOperation(&h)
}
