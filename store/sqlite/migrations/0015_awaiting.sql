-- +goose Up

-- Gates that wait for approvals; 1 is command.GateAwaiting. What is paused, or
-- goes in waves for weeks, is not looked through for them.
CREATE INDEX gate_awaiting ON gate (command) WHERE json_extract(body, '$.state') = 1;
