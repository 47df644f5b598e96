// Package queue carries orders, claims, cancels, heartbeats, outcomes and log frames between the server and its
// workers, over NATS JetStream: a server inside this process by default, or one outside. It is the only importer of
// nats-io. What it holds is derived: the database is the truth, and a store that was lost is filled again from it.
// It knows nothing of how builds are planned or run.
package queue
