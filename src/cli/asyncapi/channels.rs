//! Where messages go: a channel for each routing key that is published to, and one for each queue, as they are declared.

use super::messages::{self, NOTIFICATION};
use crate::{
    domain::{command::CommandKind, event::EventType},
    flow::disposition::DeadReason,
    rabbit::{
        TopologyNames,
        message::{DETAIL_HEADER, REASON_HEADER},
        topology::{Argument, Exchange, ExchangeType, QueueSpec},
    },
};
use serde_json::{Map, Value, json};

pub const BINDING_VERSION: &str = "0.3.0";

pub fn channels(names: &TopologyNames) -> Value {
    let mut channels = Map::new();
    for kind in CommandKind::ALL {
        let key = kind.routing_key();
        let title = format!("Where upstream services ask for a {}", kind.name());
        channels.insert(key.to_owned(), keyed(names, &names.commands_exchange, key, &title, &[key]));
    }
    let title =
        "Where the ingress, or a gateway of your own, hands in DOKU's notifications; any routing key does";
    let notifications = keyed(names, &names.notifications_exchange, NOTIFICATION, title, &[NOTIFICATION]);
    channels.insert(NOTIFICATION.to_owned(), notifications);
    for event in EventType::ALL {
        channels.insert(event.routing_key().to_owned(), event_channel(names, event));
    }
    for queue in names.queues() {
        channels.insert(queue.name.to_owned(), queued(names, &queue));
    }
    channels.into()
}

/// One routing key of an exchange.
fn keyed(names: &TopologyNames, exchange: &str, key: &str, title: &str, keys: &[&str]) -> Value {
    json!({
        "address": key,
        "title": title,
        "messages": references(keys),
        "bindings": {"amqp": exchange_binding(names, exchange)},
    })
}

/// A channel for each event: generators make a class of a channel's several messages that reads none of them.
fn event_channel(names: &TopologyNames, event: EventType) -> Value {
    let key = event.routing_key();
    let title = format!("Where the event {key} is published");
    let mut channel = keyed(names, &names.events_exchange, key, &title, &[key]);
    channel["description"] = json!(
        "Bind a queue of your own; `#` as the routing key is every event. A queue that is full with reject-publish holds \
         back the events of all: give yours room."
    );
    channel
}

fn exchange_binding(names: &TopologyNames, name: &str) -> Value {
    let declared = names.exchanges();
    let mut binding = Map::new();
    binding.insert("is".to_owned(), json!("routingKey"));
    if let Some(exchange) = declared.iter().find(|exchange| exchange.name == name) {
        binding.insert("exchange".to_owned(), described(exchange));
        if let Some(alternate) = exchange.alternate {
            binding.insert("x-alternate-exchange".to_owned(), json!(alternate));
        }
    }
    binding.insert("bindingVersion".to_owned(), json!(BINDING_VERSION));
    binding.into()
}

fn described(exchange: &Exchange<'_>) -> Value {
    let kind = match exchange.kind {
        ExchangeType::Topic => "topic",
        ExchangeType::Fanout => "fanout",
    };
    json!({"name": exchange.name, "type": kind, "durable": true, "autoDelete": false})
}

fn queued(names: &TopologyNames, queue: &QueueSpec<'_>) -> Value {
    let arguments: Map<String, Value> = queue
        .arguments
        .iter()
        .map(|(name, argument)| {
            let value = match argument {
                Argument::Text(text) => json!(text),
                Argument::Number(number) => json!(number),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    let bound: Vec<Value> = names
        .bindings()
        .iter()
        .filter(|binding| binding.queue == queue.name)
        .map(|binding| json!({"exchange": binding.exchange, "routingKey": binding.key}))
        .collect();
    let (title, keys) = held(names, queue.name);
    let mut channel = json!({
        "address": queue.name,
        "title": title,
        "messages": references(&keys),
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": queue.name, "durable": true, "exclusive": false, "autoDelete": false},
            "bindingVersion": BINDING_VERSION,
            "x-arguments": arguments,
            "x-bindings": bound,
        }},
    });
    if queue.name == names.dead_queue {
        let reasons = DeadReason::ALL.map(DeadReason::name).join(", ");
        channel["description"] = json!(format!(
            "Messages keep their body byte for byte. {REASON_HEADER} is one of {reasons}, {DETAIL_HEADER} says what \
             is wrong; what the broker dead-lettered has its x-death."
        ));
    }
    channel
}

/// What a queue is for, and which messages are in it.
fn held(names: &TopologyNames, queue: &str) -> (&'static str, Vec<&'static str>) {
    let inbound = || messages::inbound().to_vec();
    if queue == names.payments_queue {
        ("Payments for the worker", vec![CommandKind::Payment.routing_key()])
    } else if queue == names.refunds_queue {
        ("Refunds for the worker", vec![CommandKind::Refund.routing_key()])
    } else if queue == names.notifications_queue {
        ("Notifications for the reconciler", vec![NOTIFICATION])
    } else if queue == names.dead_queue {
        (
            "Dead letters, with the headers x-jenius-reason and x-jenius-detail, or the broker's x-death",
            inbound(),
        )
    } else {
        ("What was published with a routing key that no queue is bound to", inbound())
    }
}

fn references(keys: &[&str]) -> Value {
    keys.iter()
        .map(|key| ((*key).to_owned(), json!({"$ref": format!("#/components/messages/{key}")})))
        .collect::<Map<String, Value>>()
        .into()
}
