// Package store opens the place where everything is kept.
//
// A store is named by a DSN, and its scheme chooses the engine:
//
//	/var/lib/behest/behest.db          a file: SQLite
//	sqlite:///var/lib/behest/behest.db likewise
//
// What an engine promises is written in command/ledger, and held by
// store/storetest. There is one engine so far: store/sqlite.
package store
