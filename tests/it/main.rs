//! Stories through the front door: the real service, a real PostgreSQL, a real RabbitMQ, and DOKU's
//! sandbox, which checks every signature and keeps the ledger that the stories are held against.
//!
//! `./deploy/local/test` starts the servers and runs them all, in the order of their names: so the longest by far,
//! the soak of `all_at_once`, is named to come first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by panicking")]

mod harness;

mod all_at_once;
mod answers;
mod attributes;
mod budgets;
mod check_status;
mod claims;
mod clients;
mod cluster;
mod console;
mod crashes;
mod database;
mod dead_letters;
mod deliveries;
mod doctor;
mod doubt;
mod events;
mod evidence;
mod fairness;
mod generated_code;
mod hostile;
mod imported;
mod ingress;
mod logs;
mod metrics;
mod nodes;
mod notifications;
mod operators;
mod operators_list;
mod operators_pause;
mod operators_replay;
mod operators_who;
mod other_requests;
mod outages;
mod parked;
mod payments;
mod process;
mod process_stop;
mod prune;
mod rate;
mod readme_clients;
mod reports;
mod rules;
mod secrets;
mod senders;
mod settlement;
mod side_by_side;
mod snap;
mod starting;
mod strangers;
mod supervision;
mod terminal;
mod tls;
mod traces;
mod went_back;
