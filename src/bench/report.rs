//! What is printed at the end: for people as tables, for programs as one JSON object.

use super::{Settings, machine::Machine};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Everything one call measured.
#[derive(Serialize)]
pub struct BenchReport {
    pub machine: Machine,
    pub settings: Settings,
    pub sections: Vec<Section>,
}

/// What one scenario measured.
#[derive(Serialize)]
pub struct Section {
    pub scenario: &'static str,
    pub results: serde_json::Value,
    /// The same, for people.
    #[serde(skip)]
    pub text: String,
}

impl Section {
    pub fn new(scenario: &'static str, results: &impl Serialize, text: String) -> anyhow::Result<Self> {
        Ok(Self { scenario, results: serde_json::to_value(results)?, text })
    }
}

impl BenchReport {
    /// Tables and warnings.
    pub fn text(&self) -> String {
        let machine = &self.machine;
        let settings = &self.settings;
        let mut text = format!(
            "{}, {} cores, {:.0} GiB, Linux {}, load average {}\n\
             jenius-pay {}, PostgreSQL {} (fsync {}, synchronous_commit {}), RabbitMQ {} (quorum queues, confirms)\n\
             amqp.prefetch {}, database.max_connections {}, doku.concurrency {}, doku.requests_per_second {}\n",
            machine.cpu,
            machine.cores,
            machine.memory_gib,
            machine.kernel,
            machine.load_average,
            machine.jenius_pay,
            machine.postgres,
            machine.fsync,
            machine.synchronous_commit,
            machine.rabbitmq,
            settings.prefetch,
            settings.max_connections,
            settings.concurrency,
            settings.requests_per_second,
        );
        for warning in machine.warnings() {
            text.push_str(&format!("warning: {warning}\n"));
        }
        for section in &self.sections {
            text.push_str(&format!("\n{}\n{}\n", section.scenario, section.text));
        }
        text
    }
}

/// A table: the first column is words, the other columns are figures.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_BORDERS_ONLY_CONDENSED).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// A figure with as many digits as mean something.
pub fn figure(value: f64) -> String {
    if value >= 100.0 {
        thousands(value)
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        for (value, text) in [
            (0.0, "0.000"),
            (0.2512, "0.251"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (4812.4, "4,812"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(&row("who", "commands/s"), &[row("service", "4,800"), row("plain", "1,600")]);
        assert!(text.contains("who") && text.contains("4,800") && text.contains("1,600"), "{text}");
        assert!(text.lines().all(|line| line.len() == text.lines().next().unwrap().len()), "{text}");
    }
}
