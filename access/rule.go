package access

// Rule says who may use a route.
type Rule struct {
	Roles Roles // any of these; none for Public
	// Everywhere asks for the role for all devices: what the route changes is
	// there for all of them, or says who may what.
	Everywhere bool
	Public
}

// Public says who needs no token.
type Public uint8

const (
	Nobody     Public = iota // everybody needs one
	OnLoopback               // callers on this machine need none
	Everybody                // nobody needs one
)

// Sets of roles as the rules use them.
const (
	readers    = everyRole
	operators  = Operator | Admin
	approvers  = Approver | Admin            // whether in the role that a command asks for, its use case says
	cancellers = Operator | Approver | Admin // stopping never needs more than seeing what runs
	admins     = Admin
)

// Rules is the rule of every route of the operator API, by method and path as
// the contract writes them. What is not here may not be served.
var Rules = map[string]Rule{
	"GET /v1/devices/{device}/credentials":        {Roles: admins},
	"POST /v1/devices/{device}/credentials":       {Roles: admins},
	"GET /v1/devices/{device}/credentials/{n}":    {Roles: admins},
	"DELETE /v1/devices/{device}/credentials/{n}": {Roles: admins},
	"POST /v1/credentials/import":                 {Roles: admins, Everywhere: true},

	"POST /v1/commands":                         {Roles: operators},
	"GET /v1/commands":                          {Roles: readers},
	"GET /v1/commands/{id}":                     {Roles: readers},
	"GET /v1/commands/{id}/executions":          {Roles: readers},
	"GET /v1/commands/{id}/executions/{device}": {Roles: readers},
	"GET /v1/executions":                        {Roles: readers},
	"POST /v1/commands/{id}/cancel":             {Roles: cancellers},
	"POST /v1/commands/{id}/approve":            {Roles: approvers},
	"POST /v1/commands/{id}/deny":               {Roles: approvers},
	"POST /v1/commands/{id}/pause":              {Roles: operators},
	"POST /v1/commands/{id}/resume":             {Roles: operators},
	"POST /v1/commands/{id}/rollback":           {Roles: operators},
	"POST /v1/commands/preview":                 {Roles: operators},
	"GET /v1/approvals":                         {Roles: readers},
	"GET /v1/groups":                            {Roles: readers},
	"GET /v1/groups/{name}":                     {Roles: readers},
	"PUT /v1/groups/{name}":                     {Roles: operators, Everywhere: true},
	"DELETE /v1/groups/{name}":                  {Roles: operators, Everywhere: true},
	"POST /v1/commands/batch":                   {Roles: operators},
	"GET /v1/commands/{id}/events":              {Roles: readers},
	"GET /v1/events":                            {Roles: readers},
	"GET /v1/checkpoint":                        {Roles: readers, Everywhere: true}, // it counts what all devices do
	"GET /docs":                                 {Roles: readers, Public: OnLoopback},
	"GET /metrics":                              {Roles: readers, Everywhere: true, Public: OnLoopback}, // they count what all devices do
	"GET /v1/devices":                           {Roles: readers},
	"GET /v1/devices/{device}":                  {Roles: readers},
	"PUT /v1/devices/{device}":                  {Roles: operators},
	"PATCH /v1/devices/{device}":                {Roles: operators},
	"DELETE /v1/devices/{device}":               {Roles: admins}, // it ends what is under way, unknown
	"POST /v1/devices/{device}/cancel":          {Roles: cancellers},
	"GET /v1/types":                             {Roles: readers},
	"GET /v1/types/{name}":                      {Roles: readers},
	"PUT /v1/types/{name}":                      {Roles: admins, Everywhere: true},
	"DELETE /v1/types/{name}":                   {Roles: admins, Everywhere: true},
	"GET /v1/types/{name}/versions/{n}":         {Roles: readers},
	"GET /v1/users":                             {Roles: admins, Everywhere: true},
	"GET /v1/users/{id}":                        {Roles: admins, Everywhere: true},
	"PUT /v1/users/{id}":                        {Roles: admins, Everywhere: true},
	"DELETE /v1/users/{id}":                     {Roles: admins, Everywhere: true},
	"GET /v1/users/{id}/tokens":                 {Roles: admins, Everywhere: true},
	"POST /v1/users/{id}/tokens":                {Roles: admins, Everywhere: true},
	"DELETE /v1/users/{id}/tokens/{n}":          {Roles: admins, Everywhere: true},
	"GET /v1/me":                                {Roles: readers},
	"GET /livez":                                {Public: Everybody},
	"GET /readyz":                               {Public: Everybody},
	"GET /openapi.json":                         {Roles: readers, Public: OnLoopback},

	// A webhook reads everything, and its URL may be as good as a password.
	"GET /v1/webhooks":                                    {Roles: admins, Everywhere: true},
	"GET /v1/webhooks/{id}":                               {Roles: admins, Everywhere: true},
	"PUT /v1/webhooks/{id}":                               {Roles: admins, Everywhere: true},
	"DELETE /v1/webhooks/{id}":                            {Roles: admins, Everywhere: true},
	"POST /v1/webhooks/{id}/secret":                       {Roles: admins, Everywhere: true},
	"GET /v1/webhooks/{id}/deliveries":                    {Roles: admins, Everywhere: true},
	"POST /v1/webhooks/{id}/deliveries/{event}/redeliver": {Roles: admins, Everywhere: true},
}
