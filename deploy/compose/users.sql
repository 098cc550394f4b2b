-- The users of the database, made once with it: each is a member of what its process needs, and `migrate --grant` gives the groups
-- their rights. The owner, `jenius`, migrates and does nothing else.
CREATE ROLE jenius_worker NOLOGIN;
CREATE ROLE jenius_follow_up NOLOGIN;
CREATE ROLE jenius_reconciler NOLOGIN;
CREATE ROLE jenius_relay NOLOGIN;
CREATE ROLE jenius_operator NOLOGIN;
CREATE ROLE pay_worker LOGIN PASSWORD 'for-your-machine-only' IN ROLE jenius_worker;
CREATE ROLE pay_follow_up LOGIN PASSWORD 'for-your-machine-only' IN ROLE jenius_follow_up;
CREATE ROLE pay_reconciler LOGIN PASSWORD 'for-your-machine-only' IN ROLE jenius_reconciler;
CREATE ROLE pay_relay LOGIN PASSWORD 'for-your-machine-only' IN ROLE jenius_relay;
CREATE ROLE pay_operator LOGIN PASSWORD 'for-your-machine-only' IN ROLE jenius_operator;
