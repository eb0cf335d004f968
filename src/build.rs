//! Tells cargo that `sqlx::migrate!` reads the migrations folder: without this a new file is not seen.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
