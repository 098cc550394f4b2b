// Handles the events of orders, each once.
//
// node subscribe.js QUEUE KEY...     for example: subscribe.js bookkeeping 'order.*' command.rejected
import amqp from 'amqplib';

const prefix = process.env.JENIUS_PREFIX ?? 'jenius';
const [queue, ...keys] = process.argv.slice(2);

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createChannel();
await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
for (const key of keys) await channel.bindQueue(queue, `${prefix}.events`, key);
await channel.prefetch(100);

// In a service: a table with a unique key, written in the transaction that handles the event.
const seen = new Set();

function handle({ type, subject, sequence, data }) {
  if (type === 'jenius.command.rejected.v1') {
    for (const error of data.errors) console.log('rejected', data.invoice_number, error.field, error.code);
  } else if (type === 'jenius.settlement.matched.v1') {
    console.log('settled', data.type, data.invoice_number, data.net, data.batch);
  } else {
    console.log(type, subject, sequence, data.state);
  }
}

await channel.consume(queue, (message) => {
  const event = JSON.parse(message.content);
  // A rejection or a settled row is no version of an order: its id is the same on every re-publication.
  const version = JSON.stringify([event.source, event.subject, event.sequence ?? event.id]);
  if (!seen.has(version)) {
    handle(event);
    seen.add(version);
  }
  channel.ack(message);
});
