//! What upstream services write: the sample of the specification, each with an invoice number of its own.

use super::load::Route;

/// A run of commands with invoice numbers of its own.
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
        self.payment_with(number, "")
    }

    /// The same of another merchant.
    pub fn payment_of(&self, number: u64, merchant: &str) -> Vec<u8> {
        self.payment_with(number, &format!(r#""merchant":"{merchant}","#))
    }

    fn payment_with(&self, number: u64, attributes: &str) -> Vec<u8> {
        let (run, data) = (&self.run, self.payment_data(number));
        format!(
            concat!(
                r#"{{"specversion":"1.0","id":"{run}-{number:027}","source":"/checkout",{attributes}"#,
                r#""type":"jenius.payment.request.v1","data":{data}}}"#
            ),
            run = run,
            number = number,
            attributes = attributes,
            data = data,
        )
        .into_bytes()
    }

    /// What DOKU is sent.
    pub fn payment_data(&self, number: u64) -> String {
        format!(
            concat!(
                r#"{{"order":{{"invoice_number":"{invoice}","amount":"50000","#,
                r#""line_items":[{{"name":"Ayam","price":40000,"quantity":1}},"#,
                r#"{{"name":"Roti","price":10000,"quantity":1}}]}},"#,
                r#""customer":{{"name":"Astari","email":"Astari@doku.com","phone":"081288910205"}},"#,
                r#""redirect_url":"https://test.com/redirect","jenius_info":{{"cash_tag":"$admin"}}}}"#
            ),
            invoice = self.invoice(number),
        )
    }

    /// An event as the service writes it, about one of them.
    pub fn event(&self, number: u64) -> Vec<u8> {
        let invoice = self.invoice(number);
        format!(
            concat!(
                r#"{{"specversion":"1.0","id":"01890000-0000-7000-8000-{number:012x}","#,
                r#""source":"/jenius-pay/default","type":"jenius.payment.accepted.v1","subject":"{invoice}","#,
                r#""time":"2026-01-02T03:04:05.678901Z","sequence":"1","data":{{"merchant":"default","#,
                r#""invoice_number":"{invoice}","amount":"50000","currency":"IDR","state":"awaiting_payment","#,
                r#""previous_state":"submitting","evidence":"response","doku_status":"SUCCESS","#,
                r#""command_id":"{run}-{number:027}","command_source":"/checkout","request_id":"{invoice}","#,
                r#""error":null,"late":false}}}}"#
            ),
            number = number,
            invoice = invoice,
            run = self.run,
        )
        .into_bytes()
    }

    pub fn payments(&self, count: u64) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|number| self.payment(number))
    }
}

/// Payment commands go this way.
pub fn payments_route(exchange: &str) -> Route<'_> {
    Route { exchange, key: "payment.request" }
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
        assert_eq!(body["data"].to_string().len(), commands.payment_data(7).len());
        assert_ne!(commands.payment(8), commands.payment(7));
        let other: serde_json::Value = serde_json::from_slice(&commands.payment_of(7, "busy")).unwrap();
        assert_eq!((&other["merchant"], &other["data"]), (&"busy".into(), &body["data"]));
        let event: serde_json::Value = serde_json::from_slice(&commands.event(7)).unwrap();
        assert_eq!(event["subject"], invoice);
        assert_eq!(event["data"]["command_id"], body["id"]);
        assert_eq!(Commands::new("other").number(invoice), None);
    }
}
