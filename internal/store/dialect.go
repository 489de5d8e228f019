package store

import (
	"context"
	"database/sql"
	"time"
)

// dialect is what differs between the two databases.
type dialect interface {
	// name is the folder of the migrations.
	name() string
	// conn returns the connection for writing; its owner closes it.
	conn(ctx context.Context) (*sql.Conn, error)
	// begin is the statement that begins a writing transaction.
	begin() string
	// limit bounds a transaction of the writer. SQLite needs none: a statement cannot hang.
	limit() (context.Context, context.CancelFunc)
	// short returns the context for a look-up that the caller waits for.
	short(ctx context.Context) (context.Context, context.CancelFunc)
	// snapshot are the options of a transaction that reads one state.
	snapshot() *sql.TxOptions
	// notify is appended to the statement that raises the revision, and tells the other nodes; "" if there are none.
	notify() string
	// finish runs what the transaction has left for the end, and commits. undone says that an error came before COMMIT was asked for.
	finish(t *tx) (undone bool, err error)
	// share is appended to a SELECT whose rows must not change until the transaction ends.
	share() string
	// keep is appended to a SELECT whose rows must not be removed until the transaction ends; other changes may go on.
	keep() string
	// update is appended to a SELECT of rows that the transaction will change or remove.
	update() string
	// has is a condition: the JSON list in the column holds the parameter.
	has(column, param string) string
	// each is an entry of FROM: the texts of the JSON list in an expression, as ALIAS.value.
	each(list, alias string) string
	// param is the nth parameter of a statement that has each of them once and in order.
	param(n int) string
	// alive tells whether the database is still the one that was opened.
	alive() error
	// room tells whether there is space for changes, as far as can be seen from here.
	room() error
	// opened is called once, after the schema is there.
	opened() error
	// listen tells reached of revisions that other nodes made, until ctx ends.
	listen(ctx context.Context, reached func(int64))
	// exclusive runs fn while no other node runs one of the name.
	exclusive(ctx context.Context, name string, fn func(context.Context) error) error
	// migrating locks out other nodes and gives the connection to migrate on.
	migrating(ctx context.Context, fn func(*sql.Conn) error) error
	// fault says what an error of the driver means.
	fault(err error) fault
	// close ends it. sound says that it was opened whole and every write since is known to have been kept or undone.
	close(sound bool) error
}

// patience bounds what is asked of a database over the network: a statement, a
// wait for a lock, a transaction of the writer.
const (
	connectPatience = 5 * time.Second
	lookupPatience  = 3 * time.Second
	lockPatience    = 5 * time.Second
	commitPatience  = 15 * time.Second
)
