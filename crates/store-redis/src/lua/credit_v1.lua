#!lua name=farebox_credit_v1
-- The credit engine: one account, its caps, its holds and its outbox, each act one function call.
--
-- KEYS   one: the shard's tag `{cNN}`. All other keys are made from it and share its hash slot.
--   tag:ep            string  epoch|sealed|run_id|old       old = 1: holds of earlier epochs may be left
--   tag:as            set     accounts that were ever loaded here
--   tag:un            string  a number that every unload raises above all versions unloaded before
--   tag:a:<account>   hash    s  ACCOUNT     y  OWN_KEY     <cap id>  CAP
--   tag:h:<hold>      string  HOLD and the owner while open (its first byte is o), then for an hour
--                             s|charge, r|0 or x|charge (settled, released, swept)
--   tag:x             zset    open holds by the millisecond at which the sweeper may settle them
--   tag:out           stream  m  ENTRY and <hold>|<account>|<windows>     r  the record
-- <hold> is <generation>:<funding>; ids are 32 hex digits; amounts are whole nano-dollars. A window is its
-- period (n, d, w, m) and its number; <windows> is <cap id>=<window>,… . The packed values are struct's
-- formats below: little-endian integers, four times as fast to read and write as text.
--
-- ARGS   first always the epoch the caller believes in; then
--   reserve  hold account want least ttl_ms c|k:<ceiling>:<rate> owner cap…
--            OK|granted|available|ticket|version|windows   DUP|amount  CLOSED  MISSING  FROZEN  NOCAP|id
--            CAP|id|limit|used|reserved|period   FUNDS|available|balance|reserved
--   extend   hold account extra metered ttl_ms           OK|amount|version  REFUSED|available  NOHOLD  MISSING
--   settle   hold account amount list_price record       OK|charge|uncollected|balance|version
--   release  hold account                                the same; both: DONE|kind|charge NOHOLD MISSING
--   sweep    limit                                       OK|settled
--   credit   account seq delta 0|1 (grant) (id period window used)…   OK|balance|version  DUP  GAP|have  MISSING
--   kept     account                                     OK|unloads|hold,…   holds of a life that is over
--   load     account balance credit_seq debit_seq granted frozen unit allowance month used list_price
--            unloads n (id limit period window used)×n booked hold…   OK|version  EXISTS  OVERTAKEN
--   unload   account                                     OK  BUSY
--   again    hold account amount metered ttl_ms ticket month ceiling rate owner windows
--            OK|version (0: not loaded yet)  KNOWN  OPEN
--   limit    account id limit period window used         OK|version  MISSING
--   freeze   account 0|1                                 OK|version  MISSING
--   balance  account                                     OK|balance|reserved|granted|credit|debit|frozen
--   caps     account id…                                 OK|id|limit|period|window|used|reserved|…
--   trim     first id to keep                            OK
--   seal, unseal, open                                         OK
--   status (no epoch)                                    OK|epoch|sealed
--   audit account… (no epoch)   each: its id, sum of its holds, state, and id and text of each cap
-- All may answer NOEPOCH, OTHER|epoch (opened on another process), STALE|epoch, SEALED|epoch, BADARG, RANGE.
--
-- INVARIANTS
--   Everything is checked before the first write, and no write can fail after the first one.
--   reserved of an account is the sum of its open holds; of a cap, of those that name its window.
--   A hold leaves exactly one outbox entry, or none when it was released before anything was metered.
--   balance = loaded + credits - charges; available never falls below zero by a reserve or an extend.
--   Windows only roll forward. Every amount stays within +-(2^53 - 1), which Lua's doubles hold exactly.
--   Numbers are printed by %d only: exact up to 2^53 on 64-bit machines, and never "-0" or an exponent.

-- epoch balance reserved version debit_seq credit_seq granted frozen
local ACCOUNT = '<i4i7i7i6i6i6i7i1'
-- unit (r: requests, l: list price) allowance month used in_flight list_price
local OWN_KEY = '<c1i7i4i7i7i7'
-- limit used reserved window
local CAP = '<i7i7i7s'
-- o held metered ticket month ceiling rate account windows
local HOLD = '<c1i7i7c1i4i7i4c32s'
-- kind ticket epoch month charge uncollected held list_price balance debit_seq credit_seq
local ENTRY = '<c1c1i4i4i7i7i7i7i7i6i6'
local MAXN = 9007199254740991
local TOMBSTONE_MS = '3600000'
local PUT_OFF_MS = 60000
local SWEEP_MAX = 1000
-- An account is not unloaded while the shard's outbox is longer than can be looked through at once.
local UNLOAD_LOOK = 1000
-- Lists of caps kept taken apart.
local LISTS_MAX = 2000
local OPEN = 111

-- What this process is; a process never changes it, and a reloaded library asks again.
local process
-- The last epoch text of each shard, taken apart.
local epochs = {}
-- Lists of caps with their windows, taken apart: the calls of one key name the same ones all day.
local lists, listed = {}, 0
-- Filled anew by every act, so that it leaves no garbage.
local read, set = {}, {}

-- A library sees no globals while it is loaded; the first act of all binds what is used often.
local call, format, match, find, num, byte, sub, pack, unpacked
local floor, min, max, concat
local function bind()
  call, format, match, find, num = redis.call, string.format, string.match, string.find, tonumber
  byte, sub, pack, unpacked = string.byte, string.sub, struct.pack, struct.unpack
  floor, min, max, concat = math.floor, math.min, math.max, table.concat
  process = match(call('INFO', 'server'), 'run_id:(%x+)')
end

local function amount(text)
  if #text > 16 or not find(text, '^%d+$') then return nil end
  local n = num(text)
  if n > MAXN then return nil end
  return n
end

local function signed(text)
  if sub(text, 1, 1) ~= '-' then return amount(text) end
  local n = amount(sub(text, 2))
  return n and 0 - n
end

local function in_range(n) return n >= -MAXN and n <= MAXN end

-- ceil(n * rate / 10000) and floor of the same, exact: the product may be more than a double holds.
local function rate_up(n, rate)
  local whole = floor(n / 10000)
  return whole * rate + floor(((n - whole * 10000) * rate + 9999) / 10000)
end

local function rate_down(n, rate)
  local whole = floor(n / 10000)
  return whole * rate + floor((n - whole * 10000) * rate / 10000)
end

-- The list price of which `fee` is the rate: rate_down turned round.
local function list_price_of(fee, rate)
  if rate == 0 then return 0 end
  local whole = floor(fee / rate)
  return min(MAXN, whole * 10000 + floor((fee - whole * rate) * 10000 / rate))
end

-- An epoch's text taken apart.
local function epoch_of(tag, text)
  local e = epochs[tag]
  if not e or e.text ~= text then
    local epoch, sealed, owner, old = match(text, '^(%d+)|([01])|(%x+)|([01])$')
    e = { text = text, epoch = epoch, number = num(epoch), sealed = sealed == '1', owner = owner, old = old == '1' }
    epochs[tag] = e
  end
  return e
end

-- An epoch belongs to one life of one process: a promoted replica or a restarted server carries the number
-- of a life that is over, and must serve nobody until a new epoch is opened on it.
local function judge(tag, text, epoch, while_sealed)
  if not text then return 'NOEPOCH' end
  local e = epoch_of(tag, text)
  if e.owner ~= process then return 'OTHER|' .. e.epoch end
  if e.epoch ~= epoch then return 'STALE|' .. e.epoch end
  if e.sealed and not while_sealed then return 'SEALED|' .. e.epoch end
  return nil, e
end

local function gate(tag, epoch, while_sealed)
  if not process then bind() end
  return judge(tag, call('GET', tag .. ':ep'), epoch, while_sealed)
end

-- The gate and a hold in one command.
local function gate_and_hold(tag, epoch, hold_key, while_sealed)
  if not process then bind() end
  local both = call('MGET', tag .. ':ep', hold_key)
  local refused, e = judge(tag, both[1], epoch, while_sealed)
  return refused, e, both[2]
end

-- Year * 12 + month - 1 of a day since 1970 (Hinnant's civil_from_days).
local function month_of(day)
  local z = day + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local shifted = floor((5 * doy + 2) / 153)
  return (yoe + era * 400) * 12 + shifted + 2
end

-- The windows of the day of the last look at the clock: by period as numbers and as texts, and all texts.
local today, window_numbers, window_texts, current

-- Milliseconds since 1970 by Redis' clock, the only one; from here on the windows are those of now.
local function clock()
  local time = call('TIME')
  local seconds = num(time[1])
  local day = floor(seconds / 86400)
  if day ~= today then
    today = day
    window_numbers = { n = 0, d = day, w = floor((day + 3) / 7), m = month_of(day) }
    window_texts, current = {}, {}
    for period, number in pairs(window_numbers) do
      local text = period .. format('%d', number)
      window_texts[period], current[text] = text, true
    end
  end
  return seconds * 1000 + floor(num(time[2]) / 1000)
end

local function read_account(text, epoch)
  if not text then return nil end
  local of, bal, rsv, ver, dseq, cseq, granted, frozen = unpacked(ACCOUNT, text)
  if of ~= epoch then return nil end
  return { bal = bal, rsv = rsv, ver = ver, dseq = dseq, cseq = cseq, granted = granted, frozen = frozen }
end

-- Writing an account's state counts its version.
local function write_account(a, epoch)
  a.ver = a.ver + 1
  return pack(ACCOUNT, epoch, a.bal, a.rsv, a.ver, a.dseq, a.cseq, a.granted, a.frozen)
end

local function read_cap(text)
  if not text then return nil end
  local limit, used, rsv, window = unpacked(CAP, text)
  return { limit = limit, used = used, rsv = rsv, window = window }
end

local function write_cap(c) return pack(CAP, c.limit, c.used, c.rsv, c.window) end

local function period_of(window) return sub(window, 1, 1) end

local function number_of(window) return num(sub(window, 2)) end

-- The window in which a cap counts now; nil where it is the one it has. Never backward: a clock that steps
-- back over midnight must not reopen a spent window.
local function rolled(window)
  if current[window] then return nil end
  local period = period_of(window)
  if number_of(window) > window_numbers[period] then return nil end
  return window_texts[period]
end

local function roll(cap)
  local window = rolled(cap.window)
  if window then cap.window, cap.used, cap.rsv = window, 0, 0 end
end

local function read_own(text)
  local unit, allowance, month, used, in_flight, list = unpacked(OWN_KEY, text)
  return { unit = unit, allowance = allowance, month = month, used = used, in_flight = in_flight, list = list }
end

local function write_own(y)
  return pack(OWN_KEY, y.unit, y.allowance, y.month, y.used, y.in_flight, y.list)
end

local function read_hold(text)
  if not text or byte(text) ~= OPEN then return nil end
  local _, held, metered, ticket, month, ceiling, rate, account, windows, rest = unpacked(HOLD, text)
  return {
    held = held, metered = metered, ticket = ticket, month = month, ceiling = ceiling, rate = rate,
    account = account, windows = windows, owner = sub(text, rest),
  }
end

local function write_hold(h)
  return pack(HOLD, 'o', h.held, h.metered, h.ticket, h.month, h.ceiling, h.rate, h.account, h.windows) .. h.owner
end

-- The caps that a list names, and their windows. What is handed out is shared and must not be changed.
local function caps_in(text)
  local list = lists[text]
  if list then return list.ids, list.windows, list.n end
  local ids, windows, n = {}, {}, 0
  for id, window in string.gmatch(text, '([^=,]+)=([^,]+)') do
    n = n + 1
    ids[n], windows[n] = id, window
  end
  if listed >= LISTS_MAX then lists, listed = {}, 0 end
  lists[text], listed = { ids = ids, windows = windows, n = n }, listed + 1
  return ids, windows, n
end

-- A new month begins the allowance anew; never backward either.
local function roll_own(y, month)
  if month > y.month then y.month, y.used, y.in_flight, y.list = month, 0, 0, 0 end
end

-- Takes what a call needs of the month's allowance. By requests: a ticket, free while used + in flight is
-- below it. By list price: whatever of the ceiling is above the line, with all that is in flight, is held for.
local function take_ticket(y, ceiling, rate, want)
  roll_own(y, window_numbers.m)
  if y.unit == 'l' then
    local over = min(ceiling, max(0, y.list + y.in_flight + ceiling - y.allowance))
    y.in_flight = min(MAXN, y.in_flight + ceiling)
    if over == 0 then return 'f', 0 end
    return 'p', rate_up(over, rate)
  end
  if y.used + y.in_flight >= y.allowance then return 'p', want end
  y.in_flight = y.in_flight + 1
  return 'f', 0
end

local function reserve(keys, a)
  local tag, epoch, id, hold_key = keys[1], a[1], a[2], keys[1] .. ':h:' .. a[2]
  local refused, e, before = gate_and_hold(tag, epoch, hold_key)
  if refused then return refused end
  local want, least, ttl, funding = amount(a[4]), amount(a[5]), amount(a[6]), a[7]
  if not want or not least or not ttl or least > want or ttl == 0 or #a[3] ~= 32 then return 'BADARG' end
  if before then
    if byte(before) ~= OPEN then return 'CLOSED' end
    local _, held = unpacked(HOLD, before)
    return format('DUP|%d', held)
  end
  local account_key, count = tag .. ':a:' .. a[3], #a
  local row = call('HMGET', account_key, 's', 'y', unpack(a, 9))
  if not row[1] then return 'MISSING' end
  local of, bal, rsv, ver, dseq, cseq, granted_ever, frozen = unpacked(ACCOUNT, row[1])
  if of ~= e.number then return 'MISSING' end
  if frozen == 1 then return 'FROZEN' end
  local now = clock()
  local ticket, month, ceiling, rate, own = 'n', 0, 0, 0, nil
  if funding ~= 'c' then
    local most, share = match(funding, '^k:(%d+):(%d+)$')
    ceiling, rate = most and amount(most), share and amount(share)
    if not ceiling or not rate or rate > 10000 then return 'BADARG' end
    own = read_own(row[2])
    ticket, want = take_ticket(own, ceiling, rate, want)
    month = own.month
    if ticket == 'f' or own.unit == 'l' then least = want end
  end
  local available = bal - rsv
  local granted = want
  for i = 9, count do
    local cap, text, at = a[i], row[i - 6], (i - 9) * 4
    if not text then return 'NOCAP|' .. cap end
    for other = 9, i - 1 do
      if a[other] == cap then return 'BADARG' end
    end
    local most, used, held, window = unpacked(CAP, text)
    local newer = rolled(window)
    if newer then used, held, window = 0, 0, newer end
    local rest = most - used - held
    if least > 0 and rest < least then
      return format('CAP|%s|%d|%d|%d|%s', cap, most, used, held, period_of(window))
    end
    if rest < granted then granted = rest end
    read[at + 1], read[at + 2], read[at + 3], read[at + 4] = most, used, held, window
  end
  if least > 0 and available < least then
    return format('FUNDS|%d|%d|%d', available, bal, rsv)
  end
  granted = max(0, min(granted, available))
  local windows, n = '', 2
  for i = 9, count do
    local cap, at = a[i], (i - 9) * 4
    local window = read[at + 4]
    set[n + 1], set[n + 2] = cap, pack(CAP, read[at + 1], read[at + 2], read[at + 3] + granted, window)
    n = n + 2
    windows = i == 9 and cap .. '=' .. window or windows .. ',' .. cap .. '=' .. window
  end
  if own then
    set[n + 1], set[n + 2] = 'y', write_own(own)
    n = n + 2
  end
  ver = ver + 1
  set[1], set[2] = 's', pack(ACCOUNT, of, bal, rsv + granted, ver, dseq, cseq, granted_ever, frozen)
  call('ZADD', tag .. ':x', format('%d', now + ttl), id)
  call('SET', hold_key, pack(HOLD, 'o', granted, 0, ticket, month, ceiling, rate, a[3], windows) .. a[8])
  call('HSET', account_key, unpack(set, 1, n))
  return format('OK|%d|%d|%s|%d|%s', granted, available - granted, ticket, ver, windows)
end

-- Whether a hold can grow by `extra`; counts it in account and caps when it can, and says how many of `set` it
-- filled. Where a cap has rolled on, the whole hold moves to the new window, for growth must count somewhere.
local function grow(hold, account, row, extra)
  if account.frozen == 1 or account.bal - account.rsv < extra then return nil end
  local ids, windows, n = caps_in(hold.windows)
  local named = {}
  for i = 1, n do
    local cap = read_cap(row[i + 1])
    if not cap then return nil end
    local more = cap.window == windows[i] and extra or hold.held + extra
    if cap.limit - cap.used - cap.rsv < more then return nil end
    cap.rsv = cap.rsv + more
    set[i * 2 + 1], set[i * 2 + 2] = ids[i], write_cap(cap)
    named[i] = ids[i] .. '=' .. cap.window
  end
  hold.held, hold.windows = hold.held + extra, concat(named, ',')
  account.rsv = account.rsv + extra
  return 2 + n * 2
end

local function extend(keys, a)
  local tag, hold_key = keys[1], keys[1] .. ':h:' .. a[2]
  local refused, e, stored = gate_and_hold(tag, a[1], hold_key)
  if refused then return refused end
  local extra, metered, ttl = amount(a[4]), amount(a[5]), amount(a[6])
  if not extra or not metered or not ttl or ttl == 0 then return 'BADARG' end
  local hold = read_hold(stored)
  if not hold then return 'NOHOLD' end
  if hold.account ~= a[3] then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[3]
  local row = call('HMGET', account_key, 's', unpack((caps_in(hold.windows))))
  local account = read_account(row[1], e.number)
  if not account then return 'MISSING' end
  -- A free ticket holds no money, however much it meters.
  if hold.ticket == 'f' then extra = 0 end
  local filled = 0
  if extra > 0 then filled = grow(hold, account, row, extra) end
  call('ZADD', tag .. ':x', 'XX', format('%d', clock() + ttl), a[2])
  if filled and filled > 0 or metered > hold.metered then
    hold.metered = max(hold.metered, metered)
    call('SET', hold_key, write_hold(hold))
  end
  if not filled then return format('REFUSED|%d', account.bal - account.rsv) end
  if filled > 0 then
    set[1], set[2] = 's', write_account(account, e.number)
    call('HSET', account_key, unpack(set, 1, filled))
  end
  return format('OK|%d|%d', hold.held, account.ver)
end

-- Ends the ticket of an own-key hold: what is due of `due`, and what the ledger is told of the ticket.
local function end_ticket(hold, y, how, due, list)
  local this_month, free = hold.month == y.month, hold.ticket == 'f'
  local back, by_price = how == 'r', y.unit == 'l'
  if this_month then
    if by_price then y.in_flight = y.in_flight - hold.ceiling elseif free then y.in_flight = y.in_flight - 1 end
  end
  if back then return 0, 'n' end
  if by_price and this_month then
    -- What a sweep knows is the fee of what was metered, as if all of it were above the line.
    local spent = how == 'x' and list_price_of(due, hold.rate) or list
    local part = max(0, y.list + spent - y.allowance) - max(0, y.list - y.allowance)
    due = min(due, rate_down(part, hold.rate))
    free = part == 0
  elseif by_price then
    -- The line of a month that is over is not known; the hold was for what lay above it.
    due = min(due, hold.held)
  elseif this_month then
    -- A paid ticket whose turn comes while allowance is left costs nothing.
    free = free or y.used + y.in_flight < y.allowance
  end
  if this_month then
    y.used = y.used + 1
    y.list = min(MAXN, y.list + list)
  end
  if free then return 0, 'f' end
  return due, 'p'
end

-- The closing step of settle (s), release (r) and sweep (x) on what was stored of the hold.
local function close(tag, e, id, stored, of, how, due, list, record)
  if not stored then return 'NOHOLD' end
  if byte(stored) ~= OPEN then return 'DONE|' .. stored end
  local _, held, metered, ticket, month, ceiling, rate, owner_of, named, rest = unpacked(HOLD, stored)
  if of and of ~= owner_of then return 'BADARG' end
  local account_key = tag .. ':a:' .. owner_of
  local ids, windows, n = caps_in(named)
  local row = call('HMGET', account_key, 's', 'y', unpack(ids, 1, n))
  if not row[1] then return 'MISSING' end
  local epoch, bal, rsv, ver, dseq, cseq, granted, frozen = unpacked(ACCOUNT, row[1])
  if epoch ~= e.number then return 'MISSING' end
  local kind = how
  if how == 'x' then
    due = min(metered, held)
    list, record = ticket == 'n' and due or 0, 'sweep:' .. sub(stored, rest)
  elseif how == 'r' and metered > 0 then
    -- What was ever metered may have been swept and booked elsewhere: the ledger must hear that it is free.
    kind, record = 's', 'release:' .. sub(stored, rest)
  end
  local own = nil
  if ticket ~= 'n' then
    own = read_own(row[2])
    local hold = { held = held, ticket = ticket, month = month, ceiling = ceiling, rate = rate }
    due, ticket = end_ticket(hold, own, how, due, list)
  end
  -- The hold, and above it what is available and left in every cap. What is left of a window that is past
  -- is not known, so such a cap allows the hold and no more.
  local room = held + max(0, bal - rsv)
  for i = 1, n do
    local text, at, free = row[i + 2], i * 4, 0
    read[at] = nil
    if text then
      local most, used, reserved, window = unpacked(CAP, text)
      if window == windows[i] then
        free = max(0, most - used - reserved)
        read[at], read[at + 1], read[at + 2] = most, used, reserved - held
      end
    end
    if held + free < room then room = held + free end
  end
  local charge = min(due, room)
  if not in_range(bal - charge) then return 'RANGE' end
  local filled = 2
  for i = 1, n do
    local at = i * 4
    if read[at] then
      set[filled + 1], set[filled + 2] = ids[i], pack(CAP, read[at], read[at + 1] + charge, read[at + 2], windows[i])
      filled = filled + 2
    end
  end
  if own then
    set[filled + 1], set[filled + 2] = 'y', write_own(own)
    filled = filled + 2
  end
  if kind ~= 'r' then
    bal, dseq = bal - charge, dseq + 1
    if ticket == 'n' then month = 0 end
    local entry = pack(ENTRY, kind, ticket, epoch, month, charge, due - charge, held, list, bal, dseq, cseq)
    call('XADD', tag .. ':out', '*', 'm', entry .. id .. '|' .. owner_of .. '|' .. named, 'r', record)
  end
  ver = ver + 1
  set[1], set[2] = 's', pack(ACCOUNT, epoch, bal, rsv - held, ver, dseq, cseq, granted, frozen)
  call('HSET', account_key, unpack(set, 1, filled))
  call('SET', tag .. ':h:' .. id, format('%s|%d', kind, charge), 'PX', TOMBSTONE_MS)
  call('ZREM', tag .. ':x', id)
  return format('OK|%d|%d|%d|%d', charge, due - charge, bal, ver)
end

local function settle(keys, a)
  local tag, id = keys[1], a[2]
  local refused, e, stored = gate_and_hold(tag, a[1], tag .. ':h:' .. id)
  if refused then return refused end
  local due, list = amount(a[4]), amount(a[5])
  if not due or not list then return 'BADARG' end
  return close(tag, e, id, stored, a[3], 's', due, list, a[6])
end

local function release(keys, a)
  local tag, id = keys[1], a[2]
  local refused, e, stored = gate_and_hold(tag, a[1], tag .. ':h:' .. id)
  if refused then return refused end
  return close(tag, e, id, stored, a[3], 'r', 0, 0, '')
end

-- A hold whose account is not loaded waits: settling it would make a balance out of nothing.
local function sweep(keys, a)
  local tag = keys[1]
  local refused, e = gate(tag, a[1])
  if refused then return refused end
  local limit = amount(a[2])
  if not limit then return 'BADARG' end
  local now = clock()
  local expiry, settled = tag .. ':x', 0
  local due = call('ZRANGEBYSCORE', expiry, '-inf', format('%d', now), 'LIMIT', 0, min(limit, SWEEP_MAX))
  for _, id in ipairs(due) do
    local answer = close(tag, e, id, call('GET', tag .. ':h:' .. id), nil, 'x', 0, 0, '')
    if find(answer, '^OK') then
      settled = settled + 1
    elseif find(answer, '^DONE') or answer == 'NOHOLD' then
      call('ZREM', expiry, id)
    else
      call('ZADD', expiry, 'XX', format('%d', now + PUT_OFF_MS), id)
    end
  end
  return format('OK|%d', settled)
end

-- Runs over the open holds of an account: the id and what is stored of each.
local function holds_of(tag, of, visit)
  for _, id in ipairs(call('ZRANGE', tag .. ':x', 0, -1)) do
    local hold = read_hold(call('GET', tag .. ':h:' .. id))
    if hold and hold.account == of then visit(id, hold) end
  end
end

-- What the open holds of an account hold now, but for those in `dropped`: in all, by `cap=window`, of the
-- allowance by month (requests, list price), and the newest window of each cap and of the allowance.
local function recount(tag, of, dropped)
  local held, month, by_cap, requests, prices, newest = 0, 0, {}, {}, {}, {}
  holds_of(tag, of, function(id, hold)
    if dropped and dropped[id] then return end
    held = held + hold.held
    local ids, windows, n = caps_in(hold.windows)
    for i = 1, n do
      local named, key = ids[i] .. '=' .. windows[i], ids[i] .. period_of(windows[i])
      by_cap[named] = (by_cap[named] or 0) + hold.held
      newest[key] = max(newest[key] or 0, number_of(windows[i]))
    end
    if hold.ticket == 'f' then requests[hold.month] = (requests[hold.month] or 0) + 1 end
    if hold.ticket ~= 'n' then
      prices[hold.month] = (prices[hold.month] or 0) + hold.ceiling
      month = max(month, hold.month)
    end
  end)
  return { held = held, month = month, by_cap = by_cap, requests = requests, prices = prices, newest = newest }
end

-- Whether something that belongs to a window concerns a cap: in the cap's own one, or in a newer one, which
-- then begins. A window that is past concerns nobody any more.
local function reaches(tag, of, id, cap, window)
  if cap.window == window then return true end
  if period_of(cap.window) ~= period_of(window) or number_of(window) < number_of(cap.window) then return false end
  cap.window, cap.used = window, 0
  cap.rsv = recount(tag, of).by_cap[id .. '=' .. window] or 0
  return true
end

local function credit(keys, a)
  local tag, count = keys[1], #a
  local refused, e = gate(tag, a[1])
  if refused then return refused end
  local seq, delta = amount(a[3]), signed(a[4])
  if not seq or not delta or (count - 5) % 4 ~= 0 then return 'BADARG' end
  local account_key, ids = tag .. ':a:' .. a[2], {}
  for i = 6, count, 4 do
    if not find(a[i + 1], '^[ndwm]$') or not amount(a[i + 2]) or not signed(a[i + 3]) then return 'BADARG' end
    ids[#ids + 1] = a[i]
  end
  local row = call('HMGET', account_key, 's', unpack(ids))
  local account = read_account(row[1], e.number)
  if not account then return 'MISSING' end
  if seq <= account.cseq then return 'DUP' end
  if seq > account.cseq + 1 then return format('GAP|%d', account.cseq) end
  account.bal, account.cseq = account.bal + delta, seq
  if a[5] == '1' then account.granted = account.granted + delta end
  if not in_range(account.bal) or not in_range(account.granted) then return 'RANGE' end
  local caps, filled = {}, 2
  for i = 1, #ids do
    local id, at = ids[i], i * 4 + 2
    local cap = caps[id] or read_cap(row[i + 1])
    -- A cap that is not known here comes with its use when it is needed.
    if cap and reaches(tag, a[2], id, cap, a[at + 1] .. format('%d', num(a[at + 2]))) then
      cap.used = cap.used + signed(a[at + 3])
      if not in_range(cap.used) then return 'RANGE' end
      caps[id] = cap
      set[filled + 1], set[filled + 2] = id, write_cap(cap)
      filled = filled + 2
    end
  end
  set[1], set[2] = 's', write_account(account, e.number)
  call('HSET', account_key, unpack(set, 1, filled))
  return format('OK|%d|%d', account.bal, account.ver)
end

local function named(id, cap) return id .. '=' .. cap.window end

-- A cap from five arguments; nil when one of them is not what it should be.
local function cap_from(a, i)
  local limit, window, used = amount(a[i + 1] or ''), amount(a[i + 3] or ''), signed(a[i + 4] or '')
  if not limit or not window or not used then return nil end
  if not find(a[i], '^%l:[%w_.-]+$') or not find(a[i + 2], '^[ndwm]$') then return nil end
  return { limit = limit, window = a[i + 2] .. format('%d', window), used = used, rsv = 0 }
end

-- How often this shard unloaded accounts: what was read for a load before an unload is too old for it.
local function unloads(tag) return num(call('GET', tag .. ':un') or '0') end

-- Only an epoch that was opened over open holds can have holds of an account that is not loaded.
local function kept(keys, a)
  local tag = keys[1]
  local refused, e = gate(tag, a[1], true)
  if refused then return refused end
  local ids = {}
  if e.old then holds_of(tag, a[2], function(id) ids[#ids + 1] = id end) end
  return format('OK|%d|%s', unloads(tag), concat(ids, ','))
end

local function load(keys, a)
  local tag, count = keys[1], #a
  local refused, e = gate(tag, a[1], true)
  if refused then return refused end
  local account = {
    bal = signed(a[3]), rsv = 0, ver = 0, cseq = amount(a[4]), dseq = amount(a[5]), granted = signed(a[6]),
    frozen = num(a[7]),
  }
  local own = {
    unit = a[8], allowance = amount(a[9]), month = amount(a[10]), used = amount(a[11]), in_flight = 0,
    list = amount(a[12]),
  }
  local seen, caps = amount(a[13]), amount(a[14])
  if not account.bal or not account.cseq or not account.dseq or not account.granted then return 'BADARG' end
  if not own.allowance or not own.month or not own.used or not own.list or not seen or not caps then return 'BADARG' end
  if not find(a[7], '^[01]$') or not find(a[8], '^[rl]$') or not find(a[2], '^%x+$') then return 'BADARG' end
  if #a[2] ~= 32 or 14 + caps * 5 > count then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local before = call('HGET', account_key, 's')
  if before then
    local of, _, _, ver = unpacked(ACCOUNT, before)
    if of == e.number then return 'EXISTS' end
    account.ver = ver
  end
  local unloaded = unloads(tag)
  if unloaded ~= seen then return 'OVERTAKEN' end
  account.ver = max(account.ver, unloaded)
  local dropped, left = {}, { by_cap = {}, requests = {}, prices = {}, newest = {}, held = 0, month = 0 }
  if e.old then
    for i = 15 + caps * 5, count do dropped[a[i]] = true end
    left = recount(tag, a[2], dropped)
  end
  account.rsv = left.held
  -- Rolled before the holds are counted in: they may name a newer window than the ledger's last one.
  clock()
  roll_own(own, max(window_numbers.m, left.month))
  own.in_flight = (own.unit == 'l' and left.prices or left.requests)[own.month] or 0
  local fields = { 'y', write_own(own) }
  for i = 15, 14 + caps * 5, 5 do
    local cap = cap_from(a, i)
    if not cap then return 'BADARG' end
    roll(cap)
    local newest = left.newest[a[i] .. a[i + 2]]
    if newest and newest > number_of(cap.window) then cap.window, cap.used = a[i + 2] .. format('%d', newest), 0 end
    cap.rsv = left.by_cap[named(a[i], cap)] or 0
    fields[#fields + 1] = a[i]
    fields[#fields + 1] = write_cap(cap)
  end
  -- A hold whose charge is booked for good protects nothing any more.
  for id in pairs(dropped) do
    local hold = read_hold(call('GET', tag .. ':h:' .. id))
    if hold and hold.account == a[2] then
      call('DEL', tag .. ':h:' .. id)
      call('ZREM', tag .. ':x', id)
    end
  end
  call('DEL', account_key)
  call('HSET', account_key, 's', write_account(account, e.number))
  for i = 1, #fields, 100 do call('HSET', account_key, unpack(fields, i, min(i + 99, #fields))) end
  call('SADD', tag .. ':as', a[2])
  return format('OK|%d', account.ver)
end

-- Forgets an account that nothing here depends on: no hold, no entry on its way. What comes back with its next
-- load counts on from its version, and a load that was read before is refused.
local function unload(keys, a)
  local tag, of = keys[1], a[2]
  local refused, e = gate(tag, a[1])
  if refused then return refused end
  local account_key = tag .. ':a:' .. of
  local account = read_account(call('HGET', account_key, 's'), e.number)
  if not account then return 'OK' end
  if account.rsv ~= 0 or call('XLEN', tag .. ':out') > UNLOAD_LOOK then return 'BUSY' end
  local busy = false
  -- A hold of nothing, too, needs its account when it is settled.
  holds_of(tag, of, function() busy = true end)
  for _, entry in ipairs(call('XRANGE', tag .. ':out', '-', '+')) do
    if find(entry[2][2], '|' .. of .. '|', 1, true) then busy = true end
  end
  if busy then return 'BUSY' end
  call('SET', tag .. ':un', format('%d', max(unloads(tag), account.ver) + 1))
  call('SREM', tag .. ':as', of)
  call('DEL', account_key)
  return 'OK'
end

-- A gateway's word, while the shard is sealed, that it still has a hold which this Redis may have lost. There is
-- no look at balance or caps: the money was granted.
local function again(keys, a)
  local tag, hold_key = keys[1], keys[1] .. ':h:' .. a[2]
  local refused, e, before = gate_and_hold(tag, a[1], hold_key, true)
  if refused then return refused end
  if not e.sealed then return 'OPEN' end
  local hold = {
    account = a[3], held = amount(a[4]), metered = amount(a[5]), ticket = a[7], month = amount(a[8]),
    ceiling = amount(a[9]), rate = amount(a[10]), owner = a[11], windows = a[12],
  }
  local ttl = amount(a[6])
  if not hold.held or not hold.metered or not ttl or ttl == 0 or not hold.month or #a[3] ~= 32 then return 'BADARG' end
  if not find(a[7], '^[nfp]$') or not hold.ceiling or not hold.rate or hold.rate > 10000 then return 'BADARG' end
  if before then return 'KNOWN' end
  local ids, windows, n = caps_in(hold.windows)
  for i = 1, n do
    if not find(windows[i], '^[ndwm]%d+$') then return 'BADARG' end
  end
  local account_key = tag .. ':a:' .. a[3]
  local row = call('HMGET', account_key, 's', 'y', unpack(ids))
  local account, filled = read_account(row[1], e.number), 2
  -- Not loaded yet: the load counts it.
  if account then
    account.rsv = account.rsv + hold.held
    if not in_range(account.rsv) then return 'RANGE' end
    for i = 1, n do
      local cap = read_cap(row[i + 2])
      if cap and reaches(tag, a[3], ids[i], cap, windows[i]) then
        cap.rsv = cap.rsv + hold.held
        set[filled + 1], set[filled + 2] = ids[i], write_cap(cap)
        filled = filled + 2
      end
    end
    local own = hold.ticket ~= 'n' and read_own(row[2])
    if own then roll_own(own, hold.month) end
    if own and own.month == hold.month then
      own.in_flight = own.in_flight + (own.unit == 'l' and hold.ceiling or hold.ticket == 'f' and 1 or 0)
      set[filled + 1], set[filled + 2] = 'y', write_own(own)
      filled = filled + 2
    end
    set[1], set[2] = 's', write_account(account, e.number)
  end
  call('ZADD', tag .. ':x', format('%d', clock() + ttl), a[2])
  call('SET', hold_key, write_hold(hold))
  if not e.old then call('SET', tag .. ':ep', format('%s|1|%s|1', e.epoch, process)) end
  if account then call('HSET', account_key, unpack(set, 1, filled)) end
  return format('OK|%d', account and account.ver or 0)
end

local function limit(keys, a)
  local tag = keys[1]
  local refused, e = gate(tag, a[1])
  if refused then return refused end
  local cap = cap_from(a, 3)
  if not cap then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local row = call('HMGET', account_key, 's', a[3])
  local account, before = read_account(row[1], e.number), read_cap(row[2])
  if not account then return 'MISSING' end
  if before and period_of(before.window) == a[5] then
    cap.window, cap.used, cap.rsv = before.window, before.used, before.rsv
  else
    if before then cap.used = 0 end
    clock()
    roll(cap)
    cap.rsv = recount(tag, a[2]).by_cap[named(a[3], cap)] or 0
  end
  call('HSET', account_key, 's', write_account(account, e.number), a[3], write_cap(cap))
  return format('OK|%d', account.ver)
end

local function freeze(keys, a)
  local tag = keys[1]
  local refused, e = gate(tag, a[1])
  if refused then return refused end
  if not find(a[3], '^[01]$') then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local account = read_account(call('HGET', account_key, 's'), e.number)
  if not account then return 'MISSING' end
  account.frozen = num(a[3])
  call('HSET', account_key, 's', write_account(account, e.number))
  return format('OK|%d', account.ver)
end

local function balance(keys, a)
  local refused, e = gate(keys[1], a[1], true)
  if refused then return refused end
  local s = read_account(call('HGET', keys[1] .. ':a:' .. a[2], 's'), e.number)
  if not s then return 'MISSING' end
  return format('OK|%d|%d|%d|%d|%d|%d', s.bal, s.rsv, s.granted, s.cseq, s.dseq, s.frozen)
end

local function cap_words(cap)
  local period, window = period_of(cap.window), sub(cap.window, 2)
  return format('%d|%s|%s|%d|%d', cap.limit, period, window, cap.used, cap.rsv)
end

local function caps(keys, a)
  local refused, e = gate(keys[1], a[1], true)
  if refused then return refused end
  local row = call('HMGET', keys[1] .. ':a:' .. a[2], 's', unpack(a, 3))
  if not read_account(row[1], e.number) then return 'MISSING' end
  clock()
  local known = { 'OK' }
  for i = 3, #a do
    local cap = read_cap(row[i - 1])
    if cap then
      roll(cap)
      known[#known + 1] = a[i]
      known[#known + 1] = cap_words(cap)
    end
  end
  return concat(known, '|')
end

local function trim(keys, a)
  local refused = gate(keys[1], a[1], true)
  if refused then return refused end
  if not find(a[2], '^%d+%-%d+$') then return 'BADARG' end
  call('XTRIM', keys[1] .. ':out', 'MINID', a[2])
  return 'OK'
end

local function status(keys)
  if not process then bind() end
  local text = call('GET', keys[1] .. ':ep')
  if not text then return 'NOEPOCH' end
  local e = epoch_of(keys[1], text)
  if e.owner ~= process then return 'OTHER|' .. e.epoch end
  return 'OK|' .. e.epoch .. '|' .. (e.sealed and '1' or '0')
end

-- A new epoch, sealed or serving. The current one is opened again only by the process it belongs to, which
-- also ends its seal.
local function begin(keys, a, sealed)
  if not process then bind() end
  local tag, epoch = keys[1], amount(a[1])
  if not epoch or epoch == 0 then return 'BADARG' end
  local old, text = call('ZCARD', tag .. ':x') > 0, call('GET', tag .. ':ep')
  if text then
    local e = epoch_of(tag, text)
    local again = epoch == e.number and sealed == '0' and e.owner == process
    if epoch < e.number or epoch == e.number and not again then return 'STALE|' .. e.epoch end
    if again then old = e.old end
  end
  call('SET', tag .. ':ep', format('%d|%s|%s|%s', epoch, sealed, process, old and '1' or '0'))
  return 'OK'
end

-- The seal of this very epoch, on the process that was sealed and drained in it.
local function unseal(keys, a)
  local refused = gate(keys[1], a[1], true)
  if refused then return refused end
  return begin(keys, a, '0')
end

local function seal(keys, a) return begin(keys, a, '1') end
local function open(keys, a) return begin(keys, a, '0') end

local function audit(keys, a)
  if not process then bind() end
  local tag, held = keys[1], {}
  for _, id in ipairs(call('ZRANGE', tag .. ':x', 0, -1)) do
    local hold = read_hold(call('GET', tag .. ':h:' .. id))
    if hold then held[hold.account] = (held[hold.account] or 0) + hold.held end
  end
  local answer = {}
  for _, id in ipairs(a) do
    local fields = call('HGETALL', tag .. ':a:' .. id)
    local words = { id, format('%d', held[id] or 0), '' }
    for i = 1, #fields, 2 do
      if fields[i] == 's' then
        words[3] = format('%d|%d|%d|%d|%d|%d|%d|%d', unpacked(ACCOUNT, fields[i + 1]))
      elseif fields[i] ~= 'y' then
        words[#words + 1] = fields[i]
        words[#words + 1] = cap_words(read_cap(fields[i + 1]))
      end
    end
    answer[#answer + 1] = words
  end
  return answer
end

redis.register_function('fb1_reserve', reserve)
redis.register_function('fb1_extend', extend)
redis.register_function('fb1_settle', settle)
redis.register_function('fb1_release', release)
redis.register_function('fb1_sweep', sweep)
redis.register_function('fb1_credit', credit)
redis.register_function('fb1_load', load)
redis.register_function('fb1_unload', unload)
redis.register_function('fb1_again', again)
redis.register_function('fb1_limit', limit)
redis.register_function('fb1_freeze', freeze)
redis.register_function('fb1_trim', trim)
redis.register_function('fb1_seal', seal)
redis.register_function('fb1_unseal', unseal)
redis.register_function('fb1_open', open)
redis.register_function { function_name = 'fb1_kept', callback = kept, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_balance', callback = balance, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_caps', callback = caps, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_status', callback = status, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_audit', callback = audit, flags = { 'no-writes' } }
