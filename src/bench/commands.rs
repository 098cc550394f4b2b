//! What upstream services write: the sample of the specification, each with an invoice number of its own.

use super::load::Route;

/// Where payment commands go below a prefix.
pub const PAYMENT_KEY: &str = "payment.request";

/// A run of commands whose invoice numbers nobody else uses.
#[derive(Clone)]
pub struct Commands {
    run: String,
}

impl Commands {
    pub fn new(run: &str) -> Self {
        Self { run: run.to_owned() }
    }

    pub fn invoice(&self, number: u64) -> String {
        format!("BENCH-{}-{number:09}", self.run)
    }

    /// Which one an invoice number is.
    pub fn number(&self, invoice: &str) -> Option<u64> {
        invoice.strip_prefix("BENCH-")?.strip_prefix(self.run.as_str())?.strip_prefix('-')?.parse().ok()
    }

    pub fn payment(&self, number: u64) -> Vec<u8> {
        let invoice = self.invoice(number);
        let run = &self.run;
        format!(
            concat!(
                r#"{{"specversion":"1.0","id":"{run}-{number:027}","source":"/checkout","#,
                r#""type":"jenius.payment.request.v1","data":{{"order":{{"invoice_number":"{invoice}","#,
                r#""amount":"50000","line_items":[{{"name":"Ayam","price":40000,"quantity":1}},"#,
                r#"{{"name":"Roti","price":10000,"quantity":1}}]}},"#,
                r#""customer":{{"name":"Astari","email":"Astari@doku.com","phone":"081288910205"}},"#,
                r#""redirect_url":"https://test.com/redirect","jenius_info":{{"cash_tag":"$admin"}}}}}}"#
            ),
            run = run,
            number = number,
            invoice = invoice,
        )
        .into_bytes()
    }

    pub fn payments(&self, count: u64) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|number| self.payment(number))
    }
}

/// Where payment commands are published.
pub fn route(exchange: &str) -> Route<'_> {
    Route { exchange, key: PAYMENT_KEY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_cloud_event_with_an_invoice_of_its_own() {
        let commands = Commands::new("ab12");
        let body: serde_json::Value = serde_json::from_slice(&commands.payment(7)).unwrap();
        let invoice = body["data"]["order"]["invoice_number"].as_str().unwrap();
        assert_eq!(commands.number(invoice), Some(7));
        assert_eq!(body["type"], "jenius.payment.request.v1");
        assert_ne!(commands.payment(8), commands.payment(7));
        assert_eq!(Commands::new("other").number(invoice), None);
    }
}
