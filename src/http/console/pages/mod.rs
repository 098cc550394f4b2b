//! A file for each page.

pub mod audit;
pub mod decide;
pub mod entry;
pub mod order;
pub mod orders;
pub mod overview;
pub mod review;
pub mod sends;
pub mod settlement;
