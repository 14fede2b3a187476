-- Where lanes stand; begins the history of those that have none.
--
-- KEYS  stream and meta of each lane
-- ARGV  1 epoch of a new history
-- Returns for each lane: epoch, head, floor (all events after it are retained).
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local answer = {}
for i = 1, #KEYS, 2 do
  local m = redis.call('HMGET', KEYS[i + 1], 'epoch', 'head', 'floor')
  local epoch, head, floor = m[1], m[2], m[3]
  if not epoch then
    epoch, head, floor = ARGV[1], now, now
    redis.call('HSET', KEYS[i + 1], 'epoch', epoch, 'head', head, 'floor', floor, 'since', now)
  elseif redis.call('EXISTS', KEYS[i]) == 0 then
    floor = head
  end
  answer[#answer + 1] = epoch
  answer[#answer + 1] = head
  answer[#answer + 1] = floor
end
return answer
