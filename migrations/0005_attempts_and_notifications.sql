-- Attempts that were made, for the person on call. Written with their record, not with their claim.
CREATE TABLE attempts (
    command_key bigint      NOT NULL REFERENCES commands,
    number      integer     NOT NULL,
    kind        text        NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    http_status smallint,
    result      text        NOT NULL,
    detail      text,
    token       uuid,       -- its claim's: the same record, asked for twice, is written once
    PRIMARY KEY (command_key, number),
    CONSTRAINT attempts_number_from_one CHECK (number >= 1),
    CONSTRAINT attempts_kind_is_known CHECK (kind IN ('send', 'inquiry')),
    CONSTRAINT attempts_end_after_their_start CHECK (finished_at >= started_at),
    CONSTRAINT attempts_http_status_in_range CHECK (http_status BETWEEN 100 AND 999),
    CONSTRAINT attempts_send_result_is_known CHECK (
        kind <> 'send' OR result IN ('accepted', 'declined', 'not_acted', 'in_doubt', 'lost')),
    CONSTRAINT attempts_lost_without_a_record CHECK ((result = 'lost') = (token IS NULL))
);

-- Verified notifications, their signed fields only. Without an order they are parked until one appears.
CREATE TABLE notifications (
    key            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant       text        NOT NULL,
    invoice_number text        NOT NULL,
    order_key      bigint      REFERENCES orders,
    received_at    timestamptz NOT NULL DEFAULT jenius_now(),
    request_id     text        NOT NULL,
    status         text,
    amount         text,
    applied        boolean     NOT NULL DEFAULT false,
    reason         text,       -- why it was not applied
    CONSTRAINT notifications_parked_are_not_applied CHECK (order_key IS NOT NULL OR NOT applied),
    CONSTRAINT notifications_reason_unless_applied CHECK (
        (reason IS NOT NULL) = (order_key IS NOT NULL AND NOT applied)),
    CONSTRAINT notifications_reason_is_known CHECK (
        reason IN ('duplicate', 'no_change', 'amount_mismatch', 'incomplete'))
);

CREATE INDEX notifications_parked ON notifications (merchant, invoice_number) WHERE order_key IS NULL;
CREATE INDEX notifications_parked_since ON notifications (received_at) WHERE order_key IS NULL;
CREATE INDEX notifications_of_an_order ON notifications (order_key) WHERE order_key IS NOT NULL;
