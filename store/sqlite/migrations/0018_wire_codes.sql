-- +goose Up

-- Who ever had a wire code. type_wire_code has those alone that have it now.
CREATE INDEX type_wire_codes ON type (wire_code) WHERE wire_code IS NOT NULL;
