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
mod journeys;
mod lineup;
mod mail;
mod races;
mod releases;
mod schema;
mod servers;
