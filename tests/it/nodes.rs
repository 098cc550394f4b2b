//! Several nodes in `amqp.url`, tried in turn.

use crate::harness::{
    World,
    child::Service,
    eventually, get, payment,
    proxy::{Mode, Proxy},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_node_is_used_when_one_is_down_or_hangs() {
    let mut world = World::with().without_service().build().await;
    let direct = world.settings["AMQP_URL"].clone();
    let [mut one, mut two] = [(); 2].map(|()| direct.parse::<url::Url>().unwrap());
    let (first, second) = (Proxy::before(&mut one).await, Proxy::before(&mut two).await);
    first.set(Mode::BlackHole);
    world.settings.insert("AMQP_URL".to_owned(), format!("{one}, {two}"));
    let service = Service::start(&world).await;
    let pays = async || {
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "order.paid").await;
    };
    pays().await;
    // The other way round, while it runs.
    first.set(Mode::Forward);
    second.set(Mode::Down);
    pays().await;
    let ready = async || {
        let (status, said) = get(format!("http://{}/readyz", service.admin)).await.ok()?;
        (status == 200 && said.contains(&format!("{} or {}", first.address, second.address))).then_some(())
    };
    eventually("both nodes to be named", ready).await;
    // Neither: each is named with what is wrong with it.
    first.set(Mode::Refuse);
    let told = async || {
        let (status, said) = get(format!("http://{}/readyz", service.admin)).await.ok()?;
        let both = [first.address, second.address].map(|node| said.contains(&format!("{node}: connecting")));
        (status == 503 && both == [true, true]).then_some(())
    };
    eventually("both faults to be named", told).await;
    second.set(Mode::Forward);
    pays().await;
    drop(service);
    world.end().await;
}
