-- An instance says that it is alive, and learns which others are.
--
-- KEYS  hash of instances
-- ARGV  1 instance   2 what it tells of itself   3 ms after which a silent one counts as dead
-- Returns for each instance that is alive: when it was last seen (ms), what it tells.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
local answer = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local seen, told = string.match(all[i + 1], '^(%d+) (.*)$')
  if not seen or now - tonumber(seen) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    answer[#answer + 1] = seen
    answer[#answer + 1] = told
  end
end
return answer
