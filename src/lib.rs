//! Gatefold sells festival passes bundled with digital albums, issues QR-code tickets, mails confirmations and checks
//! entry scans against Postgres.
//!
//! # The map of the house
//!
//! A newcomer finds a rule by its noun and a screen by its reader. Rooms have three doors: `mod.rs` (words, rules,
//! commands), `store.rs` (all SQL of the room), `api.rs` (its JSON face).
//!
//! | floor | what | may use |
//! | --- | --- | --- |
//! | ground | words everybody uses | ground |
//! | `http/` | problems, rates, the door | ground |
//! | rooms | one a concept, in the order below | ground and rooms above in the list |
//! | faces | `api.rs`, `web/`, `workers.rs` | all below |
//! | house | `server.rs`, `cli.rs`, `demo.rs` | everything |
//!
//! No room knows that HTTP exists outside its `api.rs`; no room writes another room's tables; SQL lives in stores; time
//! comes from [`clock`]. `tests/it/floors.rs` reads the source and fails on a breach.
//!
//! # How an order runs
//!
//! `POST /v1/orders` → [`orders::place`] → the lane of its festival ([`batcher`]) → one transaction for many orders:
//! lock stock ([`offers::shelf`]), decide by pure code (`orders::allot`), write → answer. `POST ../payments` →
//! [`payments::pay`] → the lane [`payments::Completing`] → orders locked first, stock last: captures, entitlements,
//! confirmation, tickets.

// - ground floor -
pub mod app;
pub mod batcher;
pub mod breaker;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod fault;
pub mod files;
pub mod fresh;
pub mod id;
pub mod mailer;
pub mod money;
pub mod page;
pub mod picture;
pub mod postgres;
pub mod sabotage;
pub mod scanner;
pub mod secrets;
pub mod words;

pub mod http;

// - the rooms; each may use only rooms above it -
pub mod audit;
pub mod mail;
pub mod webhooks;

pub mod accounts;
pub mod keys;
pub mod festivals;
pub mod lineup;
pub mod releases;
pub mod offers;
pub mod waiting;
pub mod orders;
pub mod tickets;
pub mod library;
pub mod books;
pub mod payments;
pub mod documents;
pub mod entry;
pub mod reports;

// - the faces -
pub mod api;
pub mod web;
pub mod workers;

// - the house -
pub mod archive;
pub mod bench;
pub mod cli;
pub mod demo;
pub mod distribute;
pub mod log;
pub mod preflight;
pub mod server;
