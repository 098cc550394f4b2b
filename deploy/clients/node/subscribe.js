// Handles the events of orders, each once.
//
// usage: node subscribe.js QUEUE KEY...     for example: subscribe.js bookkeeping 'payment.*' 'order.*' command.rejected
//
// Environment: AMQP_URL; JENIUS_PREFIX (jenius)
import amqp from 'amqplib';

const prefix = process.env.JENIUS_PREFIX ?? 'jenius';

const fail = (message, code = 1) => {
  console.error(message);
  process.exit(code);
};
const failed = (error) => fail(`error: the broker: ${error.message || error.code || error}`);
process.on('unhandledRejection', failed);

const [queue, ...keys] = process.argv.slice(2);
if (keys.length === 0 || !process.env.AMQP_URL) fail('usage: AMQP_URL=amqp://… node subscribe.js QUEUE KEY...', 2);

// In a service: two tables, written in the transaction that handles the event.
const handled = new Set(); // ids of events
const versions = new Map(); // the last sequence of each order

// An event that was not handled before.
function handle({ source, type, subject, sequence, data }) {
  if (type === 'jenius.settlement.matched.v1') {
    console.log('settled', data.type, data.invoice_number, data.net, data.batch);
    return;
  }
  if (type === 'jenius.command.rejected.v1') {
    for (const error of data.errors) console.log('rejected', data.invoice_number, error.field, error.code);
    return;
  }
  const order = JSON.stringify([source, subject]);
  // The service's database was restored: this event takes the place of the one with its sequence, and of all later ones.
  const corrects = Number(sequence) <= (versions.get(order) ?? 0) ? ['corrects'] : [];
  versions.set(order, Number(sequence));
  console.log(...corrects, type, subject, sequence, data.state);
}

const connection = await amqp.connect(process.env.AMQP_URL).catch(failed);
connection.on('error', failed);
const channel = await connection.createChannel();
channel.on('error', failed);
await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
for (const key of keys) await channel.bindQueue(queue, `${prefix}.events`, key);
await channel.prefetch(100);
await channel.consume(queue, (message) => {
  const event = JSON.parse(message.content);
  // The same id may come again, and late: it is the same event.
  if (!handled.has(event.id)) {
    handle(event);
    handled.add(event.id);
  }
  channel.ack(message);
});
