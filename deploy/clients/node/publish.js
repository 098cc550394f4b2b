// Asks for a payment, and asks again with the same id until its outcome is known.
//
// usage: node publish.js INVOICE [ID]     an ID: that command again, after a crash for example
//
// Environment: AMQP_URL; JENIUS_PREFIX (jenius), AGAIN_AFTER_SECONDS (30), GIVE_UP_AFTER_SECONDS (1200)
// Exit code: 0 accepted, 1 another outcome or none, 2 wrong usage
import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';

const prefix = process.env.JENIUS_PREFIX ?? 'jenius';
const againAfterSeconds = Number(process.env.AGAIN_AFTER_SECONDS ?? 30);
// Longer than the service may take by its budget (retry.payment_max_elapsed_ms).
const giveUpAfterSeconds = Number(process.env.GIVE_UP_AFTER_SECONDS ?? 1200);
const outcomes = ['payment.accepted', 'payment.declined', 'payment.unresolved', 'payment.abandoned', 'command.rejected'];

const fail = (message, code = 1) => {
  console.error(message);
  process.exit(code);
};
const failed = (error) => fail(`error: the broker: ${error.message || error.code || error}`);
process.on('unhandledRejection', failed);

const [invoice, id = randomUUID(), ...others] = process.argv.slice(2);
if (!invoice || others.length > 0 || !process.env.AMQP_URL) fail('usage: AMQP_URL=amqp://… node publish.js INVOICE [ID]', 2);

const command = {
  specversion: '1.0',
  id,
  source: '/checkout',
  type: 'jenius.payment.request.v1',
  // The payment's budget counts from here.
  time: new Date().toISOString(),
  data: {
    order: {
      invoice_number: invoice,
      amount: '50000',
      line_items: [{ name: 'Ayam', price: 50000, quantity: 1 }],
    },
    customer: { name: 'Astari', phone: '081288910205' },
    redirect_url: 'https://shop.example.com/thanks',
    jenius_info: { cash_tag: '$admin' },
  },
};
// Your table of orders is where the id belongs. It is there before anything is published.
console.log('id', id);

const end = setTimeout(
  () => fail(`error: no outcome within ${giveUpAfterSeconds} s; ask again later: publish.js ${invoice} ${id}`),
  giveUpAfterSeconds * 1000,
);
const connection = await amqp.connect(process.env.AMQP_URL).catch(failed);
connection.on('error', failed);
const channel = await connection.createConfirmChannel();
channel.on('error', failed);
channel.on('return', () => fail(`error: no queue takes commands of ${prefix}.commands: is jenius-pay running?`));
const { queue } = await channel.assertQueue('', { exclusive: true });
for (const key of outcomes) await channel.bindQueue(queue, `${prefix}.events`, key);

// Resolves when the broker has it, else rejects.
async function publish() {
  // The broker lets no other user name this one: amqp.sources asks for it.
  const userId = decodeURIComponent(new URL(process.env.AMQP_URL).username) || undefined;
  const properties = { contentType: 'application/cloudevents+json', persistent: true, mandatory: true, userId };
  channel.publish(`${prefix}.commands`, 'payment.request', Buffer.from(JSON.stringify(command)), properties);
  await channel.waitForConfirms();
}

// The event that settles our command.
const outcome = new Promise((resolve) => {
  channel.consume(queue, (message) => {
    const event = JSON.parse(message.content);
    if (event.data.command_source === command.source && event.data.command_id === id) resolve(event);
  }, { noAck: true });
});

let publishing = publish();
const again = setInterval(() => { publishing = publish(); }, againAfterSeconds * 1000);
await publishing;
const event = await outcome;
clearInterval(again);
clearTimeout(end);
// One that is under way ends before the connection does.
await publishing;
console.log(event.type, event.id);
for (const error of event.data.errors ?? []) console.log(`${error.field}: ${error.code}: ${error.message}`);
process.exitCode = event.type === 'jenius.payment.accepted.v1' ? 0 : 1;
await connection.close();
