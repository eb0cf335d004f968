//! What fans see: festivals, line-up, offers, the order from hold to ticket, music.

pub mod bank;
pub mod buy;
pub mod documents;
pub mod festival;
pub mod lineup;
pub mod options;
pub mod order;
pub mod pay;
pub mod post;
pub mod returns;
pub mod ticket;
pub mod transfer;
pub mod voucher;
pub mod waiting;
pub mod waiting_list;
