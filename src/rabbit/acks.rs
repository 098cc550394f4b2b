//! The acks of one channel. One task writes all of them, in groups: what is done by then in the order of the deliveries,
//! and by one `multiple` ack as far as everything before is done too.
//!
//! That costs the broker a tenth of acking each by itself: it looks for every delivery tag from the oldest one that is not
//! acked, and each ack is a command that its nodes agree on. A delivery that takes long costs only this saving.

use super::error::{BrokerError, within_limit};
use futures_util::future::try_join_all;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};

/// How many ends of deliveries are written at once.
const GROUP_MAX: usize = 1000;
const DOING: &str = "acking";

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryEnd {
    Ack,
    /// It comes again, and is not to blame: RabbitMQ 4.3 does not count it.
    Requeue,
    /// It comes again, and every version counts it towards the delivery limit.
    Reject,
}

/// A handle of the task; all deliveries of a channel share it.
#[derive(Debug, Clone)]
pub(super) struct Acks(mpsc::UnboundedSender<WrittenEnd>);

#[derive(Debug)]
struct WrittenEnd {
    tag: u64,
    end: DeliveryEnd,
    written: oneshot::Sender<Result<(), BrokerError>>,
}

impl Acks {
    /// The other half is for [`write`].
    pub fn new() -> (Self, Endings) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Endings(receiver))
    }

    /// Ends a delivery, and waits until that is written. An error: the broker delivers it again.
    pub async fn end(&self, tag: u64, end: DeliveryEnd) -> Result<(), BrokerError> {
        let lost = || BrokerError::failed(DOING, "the channel is gone");
        let (written, is_written) = oneshot::channel();
        self.0.send(WrittenEnd { tag, end, written }).map_err(|_| lost())?;
        is_written.await.map_err(|_| lost())?
    }
}

/// The ends of deliveries that are not written yet: never more than were delivered.
#[derive(Debug)]
pub(super) struct Endings(mpsc::UnboundedReceiver<WrittenEnd>);

/// Writes the ends of a channel's deliveries, until every handle is gone or the channel fails.
pub(super) async fn write(channel: &Channel, mut endings: Endings) -> Result<(), BrokerError> {
    let (mut tags, mut group) = (Tags::default(), Vec::new());
    while endings.0.recv_many(&mut group, GROUP_MAX).await > 0 {
        group.sort_unstable_by_key(|ended| ended.tag);
        let frames = tags.frames(group.iter().map(|ended| (ended.tag, ended.end)));
        // They leave in the order in which they are asked for first.
        let writing = try_join_all(frames.into_iter().map(|frame| frame.write(channel)));
        let result = within_limit(DOING, writing).await.map(drop);
        for ended in group.drain(..) {
            // Who waits for it may have left with the process.
            let _ = ended.written.send(result.clone());
        }
        result?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// This delivery, and all before it that are not ended yet.
    AckUpTo(u64),
    One(u64, DeliveryEnd),
}

impl Frame {
    async fn write(self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::AckUpTo(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
            Self::One(tag, DeliveryEnd::Ack) => {
                channel.basic_ack(tag, BasicAckOptions { multiple: false }).await
            }
            Self::One(tag, DeliveryEnd::Requeue) => {
                channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await
            }
            Self::One(tag, DeliveryEnd::Reject) => {
                channel.basic_reject(tag, BasicRejectOptions { requeue: true }).await
            }
        }
    }
}

/// Which deliveries of a channel have ended: the broker numbers them from 1, without gaps.
#[derive(Debug, Default)]
struct Tags {
    /// All up to this one.
    ended_up_to: u64,
    /// Those beyond it.
    ended: BTreeSet<u64>,
}

impl Tags {
    /// What to write for those that end now, in ascending order. One that ended before is left out: the broker closes a
    /// channel that acks twice.
    fn frames(&mut self, ending: impl Iterator<Item = (u64, DeliveryEnd)>) -> Vec<Frame> {
        let (mut acks, mut frames) = (Vec::new(), Vec::new());
        for (tag, end) in ending {
            if tag <= self.ended_up_to || !self.ended.insert(tag) {
                continue;
            }
            match end {
                DeliveryEnd::Ack => acks.push(tag),
                // Before any ack that would cover it.
                DeliveryEnd::Requeue | DeliveryEnd::Reject => frames.push(Frame::One(tag, end)),
            }
        }
        while self.ended.first() == Some(&(self.ended_up_to + 1)) {
            self.ended.pop_first();
            self.ended_up_to += 1;
        }
        let (prefix, rest) = acks.split_at(acks.partition_point(|tag| *tag <= self.ended_up_to));
        match prefix {
            [] => {}
            [one] => frames.push(Frame::One(*one, DeliveryEnd::Ack)),
            [.., last] => frames.push(Frame::AckUpTo(*last)),
        }
        frames.extend(rest.iter().map(|tag| Frame::One(*tag, DeliveryEnd::Ack)));
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What RabbitMQ does with the ends of a channel's deliveries.
    #[derive(Default)]
    struct Broker {
        outstanding: BTreeSet<u64>,
        ended: BTreeMap<u64, DeliveryEnd>,
    }

    impl Broker {
        fn take(&mut self, frame: Frame) {
            let (last, end, many) = match frame {
                Frame::AckUpTo(tag) => (tag, DeliveryEnd::Ack, true),
                Frame::One(tag, end) => (tag, end, false),
            };
            assert!(self.outstanding.contains(&last), "406, unknown delivery tag {last}");
            let covered: Vec<u64> =
                self.outstanding.iter().copied().filter(|tag| *tag == last || many && *tag < last).collect();
            for tag in covered {
                self.outstanding.remove(&tag);
                self.ended.insert(tag, end);
            }
        }
    }

    fn end() -> impl Strategy<Value = DeliveryEnd> {
        prop_oneof![8 => Just(DeliveryEnd::Ack), 1 => Just(DeliveryEnd::Requeue), 1 => Just(DeliveryEnd::Reject)]
    }

    proptest! {
        #[test]
        fn exactly_what_is_done_is_acked_whatever_the_order(
            ends in proptest::collection::vec(end(), 1..60),
            order in any::<u64>(),
            groups in proptest::collection::vec(1_usize..9, 60),
        ) {
            let mut random = fastrand::Rng::with_seed(order);
            let mut done: Vec<(u64, DeliveryEnd)> = (1..).zip(ends).collect();
            let mut broker = Broker { outstanding: (1..=done.len() as u64).collect(), ..Broker::default() };
            random.shuffle(&mut done);
            let (mut tags, mut expected) = (Tags::default(), BTreeMap::new());
            for size in groups {
                let mut group: Vec<_> = done.split_off(done.len() - size.min(done.len()));
                // One is told twice.
                group.extend(expected.first_key_value().map(|(tag, end)| (*tag, *end)));
                group.sort_unstable_by_key(|(tag, _)| *tag);
                let frames = tags.frames(group.iter().copied());
                frames.into_iter().for_each(|frame| broker.take(frame));
                expected.extend(group);
                prop_assert_eq!(&broker.ended, &expected);
            }
        }
    }

    #[test]
    fn what_is_done_from_the_oldest_on_is_one_ack() {
        let mut tags = Tags::default();
        let acks =
            |tags: &mut Tags, these: &[u64]| tags.frames(these.iter().map(|tag| (*tag, DeliveryEnd::Ack)));
        assert_eq!(
            acks(&mut tags, &[2, 3]),
            [Frame::One(2, DeliveryEnd::Ack), Frame::One(3, DeliveryEnd::Ack)]
        );
        assert_eq!(acks(&mut tags, &[1]), [Frame::One(1, DeliveryEnd::Ack)]);
        assert_eq!(acks(&mut tags, &[4, 5, 6, 8]), [Frame::AckUpTo(6), Frame::One(8, DeliveryEnd::Ack)]);
        assert_eq!(
            tags.frames(
                [(7, DeliveryEnd::Reject), (9, DeliveryEnd::Ack), (10, DeliveryEnd::Ack)].into_iter()
            ),
            [Frame::One(7, DeliveryEnd::Reject), Frame::AckUpTo(10)]
        );
    }
}
