//! A file for each page.

pub mod about;
pub mod audit;
pub mod dead;
pub mod decide;
mod decision;
pub mod doctor;
pub mod entry;
pub mod events;
pub mod live;
pub mod login;
pub mod order;
pub mod orders;
pub mod overview;
pub mod review;
pub mod sends;
pub mod settlement;
pub mod settlement_batch;
pub mod settlement_file;
pub mod work;
