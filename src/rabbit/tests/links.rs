//! Links that are lost, and what the world is told meanwhile.

use super::{proxy::Proxy, *};
use crate::flow::disposition::DeadReason;
use crate::rabbit::{Message, PublishAnswer, health::Board, topology::table};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::{io::AsyncReadExt, net::TcpListener};

fn through(rig: &Rig, port: u16) -> Broker {
    let mut url: url::Url = rig.url.parse().unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(port)).unwrap();
    Broker::new(&[SecretString::from(url.as_str())], None, rig.names.clone()).unwrap()
}

async fn proxy(rig: &Rig) -> (Proxy, Broker) {
    let url: url::Url = rig.url.parse().unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
    let proxy = Proxy::to(target).await;
    let broker = through(rig, proxy.port);
    (proxy, broker)
}

fn command(rig: &Rig) -> Message {
    Message::cloud_event(&rig.names.commands_exchange, "payment.request", "1", "t", Bytes::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_declared_twice_without_a_word() {
    with_rig(async |rig| {
        rig.broker.declare(&Part::ALL).await.unwrap();
        let other = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        // The broker compares arguments: without ours it is another queue.
        let channel = rig._connection.create_channel().await.unwrap();
        let declared = channel
            .queue_declare(short_string(&rig.names.payments_queue), other, FieldTable::default())
            .await;
        assert!(declared.unwrap_err().to_string().contains("x-"), "not refused for its arguments");
    })
    .await;
}

#[tokio::test]
async fn a_cut_link_is_built_again_and_goes_on() {
    // One thread, so that the recorder of this test hears every task of it.
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    with_rig(async |rig| {
        let (proxy, broker) = proxy(rig).await;
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let consumer = Running::start(&broker, &rig.names.payments_queue, move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            dispose(Disposition::Ack)
        });
        until("the links are up", async || broker.health().ok).await;
        assert_eq!(consumer.publisher.publish_one(command(rig)).await, PublishAnswer::Confirmed);
        let acked = |n: u32| format!("queue=\"{}\",disposition=\"acked\"}} {n}", rig.names.payments_queue);
        until("it is acked", async || recorder.handle().render().contains(&acked(1))).await;
        until("the broker knows", async || rig.ready(&rig.names.payments_queue).await == 0).await;

        proxy.cut(true);
        until("both links are missed", async || {
            !broker.health_of("publisher").ok && !broker.health_of(&rig.names.payments_queue).ok
        })
        .await;
        assert!(recorder.handle().render().contains("jenius_connection_up{dependency=\"broker\"} 0"));
        assert_eq!(consumer.publisher.publish_one(command(rig)).await, PublishAnswer::Unknown);

        proxy.open();
        until("the links are up again", async || broker.health().ok).await;
        assert_eq!(consumer.publisher.publish_one(command(rig)).await, PublishAnswer::Confirmed);
        until("it is handled", async || done.load(Ordering::SeqCst) >= 2).await;
        consumer.stop().await;
        let metrics = recorder.handle().render();
        // An ack that was on its way when the link was cut is a delivery that comes again.
        let handled = u32::try_from(done.load(Ordering::SeqCst)).unwrap();
        for line in ["jenius_reconnects_total{dependency=\"broker\"} 1".to_owned(), acked(handled)] {
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_in_hand_when_the_link_is_cut_comes_again() {
    with_rig(async |rig| {
        let (proxy, broker) = proxy(rig).await;
        let cut = Arc::new(tokio::sync::Notify::new());
        let (started, counts) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (s, c, n) = (started.clone(), counts.clone(), cut.clone());
        let consumer = Running::start(&broker, &rig.names.payments_queue, move |delivery| {
            let (started, counts, cut) = (s.clone(), c.clone(), n.clone());
            async move {
                if started.fetch_add(1, Ordering::SeqCst) == 0 {
                    cut.notified().await;
                }
                counts.lock().unwrap().push(delivery.delivery_count);
                Disposition::Ack
            }
            .boxed()
        });
        rig.put_numbers(&rig.names.payments_queue, 0..1).await;
        until("it is in hand", async || started.load(Ordering::SeqCst) == 1).await;
        proxy.cut(false);
        until("the link is missed", async || !broker.health_of(&rig.names.payments_queue).ok).await;
        cut.notify_one();
        until("it came again", async || *counts.lock().unwrap() == [0, 1]).await;
        consumer.stop().await;
        assert_eq!(rig.ready(&rig.names.payments_queue).await, 0);
    })
    .await;
}

/// Deletes the queue under a consumer, and puts messages until one is handled: without a queue they are
/// lost.
async fn consumes_after(rig: &Rig, delete: impl AsyncFnOnce()) {
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let consumer = rig.consumer(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        dispose(Disposition::Ack)
    });
    until("all links are up", async || rig.broker.health().ok).await;
    delete().await;
    until("it is handled", async || {
        rig.put_numbers(&rig.names.payments_queue, 0..1).await;
        done.load(Ordering::SeqCst) > 0
    })
    .await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_is_declared_and_consumed_again() {
    with_rig(async |rig| {
        consumes_after(rig, async || {
            let delete = rig
                .channel
                .queue_delete(short_string(&rig.names.payments_queue), QueueDeleteOptions::default());
            delete.await.unwrap();
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_and_declared_at_once_is_consumed_again() {
    with_rig(async |rig| {
        consumes_after(rig, async || {
            let other = rig._connection.create_channel().await.unwrap();
            let name = rig.names.payments_queue.as_str();
            let delete = rig.channel.queue_delete(short_string(name), QueueDeleteOptions::default());
            let (deleted, declared) = tokio::join!(delete, async {
                // Right behind the delete, not before it.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let queue = rig.names.queues().into_iter().find(|queue| queue.name == name).unwrap();
                let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                other.queue_declare(short_string(name), durable, table(queue.arguments)).await
            });
            deleted.unwrap();
            declared.unwrap();
            rig.broker.declare(&Part::ALL).await.unwrap();
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_waits_for_a_binding_that_the_broker_does_not_make() {
    with_rig(async |rig| {
        let (proxy, broker) = proxy(rig).await;
        // From the start, as in a process that starts while a node of the cluster hangs.
        proxy.swallows_bindings.store(true, Ordering::SeqCst);
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let consumer = Running::start(&broker, &rig.names.payments_queue, move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            dispose(Disposition::Ack)
        });
        for round in 1..=2 {
            rig.put_numbers(&rig.names.payments_queue, 0..1).await;
            until("a delivery is handled", async || done.load(Ordering::SeqCst) >= round).await;
            proxy.cut(false);
            until("the link is missed", async || !broker.health_of(&rig.names.payments_queue).ok).await;
        }
        until("the links work again", async || {
            broker.health_of(&rig.names.payments_queue).ok && broker.health_of("publisher").ok
        })
        .await;
        assert!(!broker.health_of("topology").ok, "the binding is not told to be made");
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_throws_us_out_at_once_is_not_asked_in_a_busy_loop() {
    with_rig(async |rig| {
        let (proxy, broker) = proxy(rig).await;
        let (stop, links) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (ended, mut session, inner) = (stop.clone(), Hold(links.clone()), broker.clone());
        let task = tokio::spawn(async move { keep_connected(&inner, "hold", &ended, &mut session).await });
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            let seen = links.load(Ordering::SeqCst);
            until("the link is made again", async || links.load(Ordering::SeqCst) > seen).await;
            proxy.cut(false);
        }
        // Waits of 250 ms and more, doubled each time.
        let accepted = proxy.accepted.load(Ordering::SeqCst);
        assert!((2..=8).contains(&accepted), "{accepted} connections in 4 s");
        stop.cancel();
        task.await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_deleted_is_declared_again_and_its_queue_bound() {
    with_rig(async |rig| {
        let consumer = rig.consumer(|_| {
            dispose(Disposition::DeadLetter { reason: DeadReason::Malformed, detail: String::new() })
        });
        until("all links are up", async || rig.broker.health().ok).await;
        let name = short_string(&rig.names.dead_exchange);
        rig.channel.exchange_delete(name, ExchangeDeleteOptions::default()).await.unwrap();
        rig.put_numbers(&rig.names.payments_queue, 0..1).await;
        until("the letter is dead", async || rig.ready(&rig.names.dead_queue).await == 1).await;
        consumer.stop().await;
    })
    .await;
}

/// Counts the links it gets, and holds each.
struct Hold(Arc<AtomicUsize>);

impl LinkSession for Hold {
    async fn run(&mut self, link: &Link) -> Result<(), BrokerError> {
        link.up();
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_nothing_is_left_after_a_while_and_its_socket_closed() {
    with_rig(async |rig| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = through(rig, listener.local_addr().unwrap().port());
        let (stop, links) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (ended, mut session, inner) = (stop.clone(), Hold(links.clone()), broker.clone());
        let task = tokio::spawn(async move { keep_connected(&inner, "hold", &ended, &mut session).await });
        let (mut socket, _) = listener.accept().await.unwrap();
        let said = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut Vec::new())).await;
        assert!(said.is_ok(), "the socket stays open");
        until("it is said", async || broker.health_of("hold").detail.contains("no answer within 5 s")).await;
        assert_eq!(links.load(Ordering::SeqCst), 0);
        stop.cancel();
        task.await.unwrap();
    })
    .await;
}

#[test]
fn nobody_is_up_before_they_say_so() {
    let board = Board::new("here");
    let link = board.link("one");
    assert!(!board.health_of("one").ok);
    link.away("refused");
    assert_eq!(board.health().detail, "here: refused, 1 of 1 links");
}
