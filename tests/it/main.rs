//! One test binary: the house, its actors, and what they live through.

mod actors;
mod authorization;
mod contract;
mod floors;
mod house;
mod journeys;
mod lineup;
mod races;
mod releases;
mod schema;
