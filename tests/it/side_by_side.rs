//! Two versions side by side: what a release left in a database is migrated, and this version works on it.
//!
//! `tests/schemas` holds the schema of every release that may still be upgraded from, one file each, named after its version:
//! `./deploy/local/build/schema VERSION` writes it when the version is released. There is none yet; until then the schema of this
//! version stands for them, so that the way is tried. The other way round, an older program on this schema:
//! `JENIUS_OTHER_PROGRAM=/path/to/jenius-pay` makes one of the two instances of the soak and of the clusters that program.

use crate::harness::{World, refund, servers};
use std::path::Path;

fn released() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_version_works_on_the_schema_of_every_release() {
    let world = World::with().without_service().build().await;
    let mut schemas = released();
    schemas.push(("this version".to_owned(), servers::schema(&world.database.url).await));
    world.end().await;
    for (of, sql) in schemas {
        println!("the schema of {of}");
        let world = World::with().on_schema(&sql).build().await;
        let invoice = world.invoice();
        world.paid(&invoice).await;
        world.publish(&refund(&invoice)).await;
        world.event(&invoice, "order.refunded").await;
        world.end().await;
    }
}
