// Command server is the Behest daemon: it reads its configuration, joins the
// rooms and runs them until it is told to stop.
//
//	server [--dev] [--data DIR] [--http ADDR] [--coap ADDR] ...
//	server check [--data DIR] [--against FILE [--key FILE] ...]
//	server export [--data DIR] [--after ID]
//	server rekey [--data DIR]
//	server version [-o json]
//
// A setting comes from a flag, else from the environment (BEHEST_DATA for
// --data), else from the file that --config names, else it has its default.
//
// What runs stands in one order, and falls in another: devices and operators
// are turned away first, what was accepted is finished, the loops end, and the
// store closes last. SIGTERM and SIGINT do that, and the exit code is then 0;
// a second one ends the process at once.
//
// Exit codes: 0 for a clean end, 1 when something failed, 2 when the command
// line or the configuration is wrong.
package main
