#![doc = include_str!("../README.md")]

pub mod app;
pub mod bench;
pub mod cli;
pub mod config;
pub mod crash;
pub mod doku;
pub mod domain;
pub mod flow;
pub mod http;
pub mod metric;
pub mod postgres;
pub mod rabbit;
pub mod sandbox;
pub mod shutdown;
pub mod startup;
pub mod telemetry;
