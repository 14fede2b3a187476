-- Reads events of a lane, after a place forwards or up to a place backwards.
--
-- KEYS  stream, meta
-- ARGV  1 "after" or "upto"   2 offset   3 how many at most
-- Returns epoch, head, floor, whether the event at the offset is there ("1"), then for each event, in
-- the order read: its offset, producer, number, event, and the place it had or "".
local stream, offset, count = KEYS[1], ARGV[2], ARGV[3]
local m = redis.call('HMGET', KEYS[2], 'epoch', 'head', 'floor')
if not m[1] then
  return { '0', '0', '0', '0' }
end
local floor = m[3]
if redis.call('EXISTS', stream) == 0 then
  floor = m[2]
end
local there = #redis.call('XRANGE', stream, offset .. '-0', offset .. '-0') > 0
local answer = { m[1], m[2], floor, there and '1' or '0' }
local entries
if ARGV[1] == 'after' then
  entries = redis.call('XRANGE', stream, '(' .. offset .. '-0', '+', 'COUNT', count)
else
  entries = redis.call('XREVRANGE', stream, offset .. '-0', '-', 'COUNT', count)
end
for _, entry in ipairs(entries) do
  local fields = entry[2]
  answer[#answer + 1] = string.match(entry[1], '%d+')
  answer[#answer + 1] = fields[2]
  answer[#answer + 1] = fields[4]
  answer[#answer + 1] = fields[6]
  answer[#answer + 1] = fields[8] or ''
end
return answer
