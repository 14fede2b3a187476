-- Appends events to one lane; append.lua stands before it.
--
-- ARGV  from 13 on for each event: producer, its number, the place it had or "", the event
-- Returns "ok", epoch, head and for each event its offset, after "=" if it was there before.
local results = { 'ok', epoch, '' }
for i = 13, #ARGV, 4 do
  local offset, was_there = append(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  results[#results + 1] = was_there and '=' .. offset or offset
end
finish()
results[3] = text(head)
return results
