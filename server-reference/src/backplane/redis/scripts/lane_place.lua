-- What scripts that read collections begin with.
--
-- KEYS  1 meta of the lane
-- ARGV  1 epoch known to the caller   2 head known to it
-- Returns "behind", epoch, head if the log, and with it the collection, lacks what the caller knows of.
local lane = redis.call('HMGET', KEYS[1], 'epoch', 'head')
local epoch, head = lane[1] or '0', lane[2] or '0'
if epoch == ARGV[1] and tonumber(head) < tonumber(ARGV[2]) then
  return { 'behind', epoch, head }
end
