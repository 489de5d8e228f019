// Package store keeps what Cardea knows in SQLite or PostgreSQL.
package store
