-- Tells what has to be known to judge mutations. lane_place.lua and collection.lua stand before it.
--
-- KEYS  2 to 7 the collection
-- ARGV  3 max verdicts   4 how many records
--       then each record's key; then for each mutation: client, number
-- Returns "ok", how many records there are, for each record that was asked for the payload of its last
-- change or "", for each mutation the last number of its client, and its verdict or "".
local c = collection(2)
local max_verdicts, mutations = tonumber(ARGV[3]), 5 + tonumber(ARGV[4])
local answer = { 'ok', text(records_in(c)) }
for i = 5, mutations - 1 do
  answer[#answer + 1] = redis.call('HGET', c.records, ARGV[i]) or ''
end
for i = mutations, #ARGV, 2 do
  local client, number = ARGV[i], ARGV[i + 1]
  answer[#answer + 1] = text(last_judged(c, client))
  local kept = redis.call('HGET', c.judged, verdict_field(client, tonumber(number), max_verdicts)) or ''
  local of, verdict = string.match(kept, '^(%d+):(.*)$')
  answer[#answer + 1] = of == number and verdict or ''
end
return answer
