//! One test binary: the house, its actors, and what they live through.

mod actors;
mod authorization;
mod browser;
mod claims;
mod contract;
mod faults;
mod floors;
mod fuzz;
mod house;
mod invariants;
mod journeys;
mod lineup;
mod look;
mod mail;
mod races;
mod night;
mod rehearsal;
mod releases;
mod schema;
mod secrecy;
mod servers;
mod statements;
mod waiting;
