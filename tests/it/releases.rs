//! Music goes in as it is and comes out as it went in.
