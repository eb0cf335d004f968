# Every word of pages and emails. The two files have the same keys in the same order; a test compares them.

# frame
language-name = English
to-content = To the content
to-start = To the festivals
by-gatefold = Tickets and records by Gatefold, free software
comma = {", "}
clause = {", "}
gap = {" "}
day-and-time = { $day }, { $time }

# festival
wall-title = Festivals
wall-lead = The pass that opens the gate, and the record that goes home.
wall-empty = Nothing is printed yet
wall-empty-lead = A promoter publishes a festival, and it hangs here.
festival = Festival
festival-title = passes, line-up, music
line-up = Line-up
passes = Passes
music = Music
from = from
acts-count = { $count ->
    [one] one act
   *[other] { $count } acts
    }
tracks-count = { $count ->
    [one] one track
   *[other] { $count } tracks
    }
sides = { $count ->
    [one] One side
    [2] Two sides
    [3] Three sides
    [4] Four sides
   *[other] { $count } sides
    }
sides-lead = A day begins when the gates open and ends after the last set.
side = Side { $letter }
from-to = { $from } to { $to }
and-more = {" "}and { $count } more
all-acts = All acts, stages and times
line-up-grid = Line-up by stage and time
days = Festival days
tba = To be announced
no-lineup = No line-up yet
no-lineup-lead = Stages and times are being drawn. Look again soon.
all-in = All fees and taxes are in the price.
no-offers = Nothing is on sale yet.
pass-and-album = pass and album
the-pass = The pass
the-add-on = The add-on
quantity = Quantity
until = until { $date }
state-on_sale = On sale
state-few_left = Few left
state-held_out = All held right now. Some may come back.
state-sold_out = Sold out
state-not_yet = Not open yet
state-paused = Paused for a moment
state-over = The sale is over
opens-at = Opens { $moment } local time.
where-to = Where the tickets go
where-to-lead = One email with everything in it.
your-email = Your email address
no-password = The tickets go here. No password, ever.
your-name = Your name
your-name-lead = Printed on the tickets until you name who comes.
nothing-charged = Nothing is charged yet.
hold-button = Hold for 10 minutes

# refusals of a basket
choose-again = Choose again
nothing-held = Nothing is held and nothing was charged.
refusal-sold-out = Sold out
refusal-sold-out-lead = The last one has a holder now. People hand passes back, most of them in the last week.
refusal-held-out = All held right now
refusal-held-out-lead = The last ones are in other baskets. A hold ends after ten minutes.
look-again = Look again at { $time }.
refusal-not-yet = Not open yet
refusal-not-yet-lead = You are early, which is good.
refusal-over = The sale is over
refusal-over-lead = Look for another offer.
refusal-paused = Paused for a moment
refusal-paused-lead = The festival paused the sale.
refusal-order-limit = That is more than one order may hold
refusal-order-limit-lead = So that there is something for everybody.
limit-is = At most { $max } in one order.
refusal-fan-limit = The limit per fan is reached
refusal-fan-limit-lead = So that there is something for everybody.
fan-limit-is = At most { $max } a fan; this address holds { $have }.
refusal-requirement = This one needs another beside it
refusal-requirement-lead = A child comes with an adult, camping with a pass: put both into the basket.
refusal-price-changed = The price went up meanwhile
refusal-price-changed-lead = The cheaper step was sold out while you chose.
new-total = It would be { $total } now.
refusal-bad-email = We cannot write to that address
refusal-bad-email-lead = Look at it once more: the tickets go there.
refusal-empty = The basket is empty
refusal-empty-lead = Choose how many of something.
refusal-key-reused = This page was sent before
refusal-key-reused-lead = With another basket. Open the festival again and choose anew.
refusal-busy = Too many at once
refusal-busy-lead = Your basket was not taken yet. Go back and press the button again: it has one effect.

# an order
order-number = Order { $number }
held = Held for you
held-until = until { $time }
seconds-left = { $count } seconds left
total = Total
each = { $price } each
tax-inside = Of it: { $rate } % tax
pay = Pay
how-you-pay = How you pay
tickets-go-to = The tickets go to { $email }.
way-simulated = Simulated bank
way-next-page = on the next page
way-instant = Simulated bank, at once
way-at-once = no page between
no-way = No way to pay is set up here. Write to the festival.
free-order = Nothing is owed.
terms = I accept the terms. A pass for a fixed date cannot be withdrawn; an album can, until you first play or download it.
terms-missing = Accept the terms, then pay.
pay-amount = Pay { $amount }
never-neither = If the time runs out while you pay, you get the tickets or the money back. Never neither.
give-up = Give the hold up
give-up-lead = and let somebody else have it.
payment-failed = The bank said no.
payment-failed-lead = Nothing was charged. Try again or another way.
undecided = We do not know yet
undecided-lead = Your bank has not told us yet. You get the tickets or the money back by { $time }.
back-to-bank = Back to the bank
ended-expired = The hold ran out
ended-expired-lead = Ten minutes are over and nothing was charged. There may still be some.
ended-cancelled = Given up
ended-cancelled-lead = You gave this order up; nothing was charged.
ended-unfulfillable = The money goes back
ended-unfulfillable-lead = Your payment came after the hold had ended, and nothing was left. You get all of it back.
ended-refunded = Refunded
ended-refunded-lead = All of the money went back.
your-tickets = Your tickets
your-ticket = Your ticket
no-tickets-in-order = No gate to pass with this one: it is all music.
order-paid = Order { $number }, paid { $moment }
you-are-in = { $count ->
    [0] The record is yours
    [one] You are in
   *[other] You are in, all { $count }
    }
you-are-in-lead = A screenshot works too; the first one through the gate wins, so keep it to yourself.
own-links = Each ticket has a link of its own, to give to who comes with you:
link-of = Ticket of { $name }
see-you = See you there
who-comes = Who comes
who-comes-lead = You can change a name until the first entry.
ticket-n = Ticket { $n }
save-names = Save the names
what-you-paid = What you paid
n-of-m = { $n } of { $m }
qr-of = QR code of ticket { $n } of { $m }
ticket-dead = This ticket opens nothing any more.
what-it-opens = What this code opens
zones = Zones
rule-window = { $day }: in from { $from } to { $until }.
rule-window-at = { $day }: in from { $from } to { $until } at { $gates }.
rule-once = One entry a day.
rule-after-exit = Come back in after every exit.
rule-times = Up to { $n } entries a day; exits are not scanned.
rule-zones = Opens { $zones }.
rule-not-at = Not at { $gates }.
rule-companion = Comes in with { $passes } of the same order, which goes first.
rule-check-age = The gate looks at the age.
rule-check-student_card = The gate looks at the student card.
rule-check-identity = The gate compares the name with a document.
rule-check-companion = The gate looks for the companion.
rule-takes = Takes { $passes } only.
rule-capacity = { $n } people at most; then one comes in when one leaves.
rule-inner = Inside the site: people come and go as they like.
collect-once = Shown once, handed over once.
copies = { $count } copies
press-play = Press play
play-track = Play { $title }
save-track = Save { $title }
save = Save
no-drm = The masters as they were made. As often as you like, for good; no copy protection.

# the simulated bank
bank = The simulated bank
bank-lead = You pay { $amount }.
bank-pay = Pay
bank-decline = Decline
bank-silent = Pay, and never tell the shop
bank-back = Back to the shop
bank-small = No money moves here: it is for rehearsals.

# gate
gate = Gate
gate-pair = Pair this phone
gate-pair-lead = A supervisor shows you a code. It is good for ten minutes and one phone.
pairing-code = Pairing code
pair-wrong = The code is wrong, used or over. Ask for a new one.
device-name = Name of this phone
device-name-example = lane 2
pair = Pair
gate-offline = Offline. Scans waiting: { $n }
gate-sending = Online again. Scans on their way: { $n }
gate-aside = The server cannot take { $n } of them; keep this phone and ask for help.
list-none = no list yet
list-of = list of { $time }, tickets: { $n }
list-old = list too old
list-only = No signatures in this browser: only tickets on the list come in.
gate-hold = Camera. Hold the code in the frame.
no-day-now = no festival day now
camera-starting = camera …
camera-on = camera on
camera-server = camera on, read by the server
camera-off = no camera; type or use a scanner
type-a-code = Type a code
scan = Scan
verdict-admitted = Admitted
verdict-check = Check
verdict-refused = Refused
no-verdict = No verdict
unable-old = The list is older than a day. Find network first.
unable-empty = No network, and no list on this phone yet.
unable-storage = This phone cannot keep scans. Close a private window, free some room, and open the page again.
unable-short = Short codes are read by a supervisor's phone with network.
unable-unlisted = No ticket has this short code.
torch = Torch
flip-camera = Other camera
zoom = Zoom
auto-next = Next by itself
what-is-scanned = What is scanned
mode-entry = In
mode-exit = Out
mode-look = Look
out = Out. Goodbye
may-come-in = May come in
undone = Taken back
repeat = Let in just now
decided-here = decided on this phone
next = Next
undo = Undo
checked = Checked
help-desk = Help desk
first-entry = First entry { $time }
others-not-in = Of this order not in yet: { $n }
reason-unknown = Not one of ours
reason-forged = Forged
reason-revoked = Replaced or void
reason-suspended = Refund under way
reason-exchanged = Used up
reason-wrong_festival = Another festival
reason-wrong_day = Not for today
reason-cancelled_day = Day cancelled
reason-wrong_gate = Another gate
reason-wrong_zone = Not this zone
reason-gate_on_hold = Gate on hold
reason-too_early = Too early
reason-too_late = Too late
reason-already_inside = Already inside
reason-no_reentry = No re-entry
reason-needs_companion = Companion not in
reason-live_code_required = Live code needed
reason-typed_code_off = No typed codes
reason-zone_full = Zone full
reason-key_retired = Key retired
instruction-age = Look at the age
instruction-student_card = Look at the student card
instruction-identity = Compare the name
instruction-companion = Is the companion there?

# control room
control-room = Control room
not-live = No word from the server. What stands here is older.
last-half-hour = The last half hour.
inside-basis = entries less scanned exits
refusals = Refusals
no-refusals = Nobody was refused.
times = Times
drawn = Drawn
forged-alarm = Forged codes.
forged-count = { $n } in five minutes
devices = Devices
devices-lead = Silent ones first.
devices-silent = Devices silent
no-devices = No device is paired.
device = Device
state = State
online = online
never-heard = not heard yet
silent-since = silent since { $time }
scans-waiting = Waiting
battery = Battery
ledger = Ledger
ledger-lead = What happened at the gates that should not have. Decide by name.
incident = Incidents
incident-lead = Stop the gates, put everybody out, and back to normal.
no-incident = Gates work as usual.
gates-held = On hold:
held-since = since { $time }
all-gates = all gates
whole-site = the whole site
incident-what = What
zone = Zone
gates-release = Release
hold-gates = Hold gates
hold-lead = Nobody comes in until it is released; whoever wants to leave leaves. Phones without network hear of it when they are back.
everybody-out = Everybody out
everybody-out-lead = From that moment nobody counts as in: for an evacuation, or an hour when the site is empty anyway. Gates keep letting in unless they are on hold.
everybody-out-sure = Yes, count everybody as out
clears-at = When (empty: now)
readmits = Let back in afterwards, whatever the pass says
readmits-no = No: passes say it
n-minutes = { $n } minutes
readmitted-until = back in until { $time }
will-be-out = Everybody will be out:
was-out = Everybody was out:
call-off = Call off
ledger-open = Open in the ledger
ledger-empty = Nothing open. Every gate decided as the server would have.
ledger-decided = Decided or explained: { $n }
ledger-withdrawn = Explained by later reports at { $time }
ledger-export = Take the ledger along (CSV)
note = Note
chart-gate = { $gate }: { $count } came in, { $refused } were refused
discrepancy-surplus_admission = In twice
discrepancy-revoked_admission = In by a dead code
discrepancy-admitted_otherwise = In against the rules
discrepancy-refused_otherwise = Turned away wrongly
discrepancy-clock_off = Clock off
decision-explained = Explained
decision-staff_mistake = Staff mistake
decision-fraud = Fraud
decision-open = Open again

# desk
desk = Desk
storefront = Storefront
api-docs = API
sign-in = Sign in
sign-in-lead = We send you a link and six digits. No password, ever.
send-link = Send me a link
look-in-mail = Look in your mail
look-in-mail-lead = If we know the address, a link and six digits are on their way; they are good for 15 minutes.
six-digits = Six digits
code-wrong = Wrong, used or over. Look at the newest email.
enter = Enter
other-address = Another address
link-over = This link is over
link-over-lead = It was used, or its 15 minutes have passed.
sign-out = Sign out
role-owner = owner
role-editor = editor
role-finance = finance
role-support = support
role-access = access
role-stage = stage
role-box_office = box office
role-supervisor = supervisor
signed-in-as = Signed in as { $name }, { $roles }.
no-festival = No festival yet
no-festival-lead = Make one through the API:
published = published
draft = draft
inside-now = Inside now
arrivals-a-minute = Arrivals a minute
highest-at = highest { $count } at { $time }
units-sold = Sold
of-n = of { $n }
captured = Captured
refunded-of = { $captured }, of it refunded { $refunded }
sold = Sold
sold-lead = Units of paid orders, summed by day
offers = Offers
offers-lead = sold, held, left
offer = Offer
col-sold = sold
col-held = held
col-left = left
money = money
arriving = Arriving
arriving-lead = People a minute, the last 90 minutes.
by-zone = by zone
whole-site = { $count } through gates to the whole site
nobody-in = Nobody is in.
chart-zone = { $zone }: { $count } of { $capacity }
latest-scans = Latest scans
no-scans = Nothing was scanned yet.
time = Time
pass = Pass
verdict = Verdict
reason = Reason
orders = Orders
orders-lead = newest first
search-address = Address begins with
search = Search
no-orders = No orders yet.
none-found = No order of such an address.
order = Order
email = Email
status = State
placed = Placed
no-sales = Nothing was sold yet.
chart-sold = Sold since { $date }: { $count }
no-arrivals = Nobody came in the last 90 minutes.
chart-arrivals = Arrivals a minute, highest { $count }
order-held = held
order-part_paid = part paid
order-paid-state = paid
order-partly_refunded = partly refunded
order-refunded = refunded
order-expired = expired
order-cancelled = given up
order-unfulfillable = money goes back

# the mailbox of the demo
mailbox = Mailbox
mailbox-lead = What the demo would have mailed, newest first.
mailbox-empty = No email yet.

# problems, as pages
problem-not-found-title = Nothing is pressed here
problem-not-found-lead = The address is wrong, or what was here is not yours to see. For both we say the same.
problem-internal-title = Our mistake, not yours
problem-internal-lead = Nothing was charged. If it stays, send us this number.
problem-malformed-title = That form cannot be read
problem-malformed-lead = Something is missing in it. Nothing was charged. Go back, load the page anew and send it again.
problem-unauthorized-title = Sign in first
problem-unauthorized-lead = This page is for people we know. Sign in, or pair this phone again.
problem-method-not-allowed-title = Not this way
problem-method-not-allowed-lead = That address takes a form, and no form came with it. Go back to the page you came from.
problem-unavailable-title = Too many at once
problem-unavailable-lead = Wait a moment and ask again; what you asked has one effect.
problem-forbidden-title = Not with these papers
problem-forbidden-lead = Go back to the page you came from and try again.
problem-too-many-requests-title = Slowly
problem-too-many-requests-lead = That was often. Wait a minute.

# emails
mail-confirmation-subject = Your tickets for { $festival }
mail-hello = Dear { $name },
mail-hello-nobody = Hello,
mail-confirmation-lead = { $count ->
    [0] The record is yours: you can play it now.
    [one] You are in. One ticket is yours.
   *[other] You are in. { $count } tickets are yours.
    }
mail-and-record = And so is the record: you can play it now, on the way there, and long after.
mail-open-tickets = Open the tickets
mail-play = Play { $title }
mail-own-link = This ticket alone, to give to who comes with you
mail-before = Before you come
mail-before-lead = Each code opens the gate once a day until you leave again; the first one through wins. A name can be changed until the first entry.
mail-paid-inside = In this: { $taxes }. Paid { $moment }. Order { $number }.
mail-paid-plain = Paid { $moment }. Order { $number }.
mail-tax = { $amount } tax at { $rate } %
mail-why = You get this email because you bought something; there is nothing to unsubscribe from.
mail-sign-in-subject = { $code } is your code for Gatefold
mail-sign-in-lead = Open this link, or type these six digits where you asked for them. Both are good for 15 minutes, once.
mail-sign-in-why = Somebody asked to sign in with this address. If it was not you, do nothing.
mail-money-back-subject = Your money for { $festival } goes back
mail-money-back-lead = Your payment of { $amount } came after the hold had ended, and nothing was left. All of it goes back the way it came.

# The claim of a ticket by its holder
claim = This ticket is mine
claim-lead = Put your name on it. Its album is yours then, and stays with you if the ticket ever goes to somebody else.
claim-email = Your email, for news about the festival (you may leave it empty)
claim-take = Take this ticket
claimed-by = { $name } took this ticket on { $moment }.
claimed = taken { $moment }
recall = Take the link back

# waiting room
waiting-enter = To the waiting room
waiting-gathering = People are gathering
waiting-gathering-lead = At { $time } the order is drawn from everybody who is here by then. Coming early gives no advantage.
waiting-nth = You are { $nth }
waiting-drawing = The order is being drawn
waiting-about-seconds = { $count ->
    [one] It is your turn in about a second.
   *[other] It is your turn in about { $count } seconds.
 }
waiting-about-minutes = { $count ->
    [one] It is your turn in about a minute.
   *[other] It is your turn in about { $count } minutes.
 }
waiting-about-unknown = We cannot say yet how long it takes.
waiting-sold-out = Everything is sold. When something comes back it goes on from here.
waiting-held-out = All held right now. Some may come back; your place stays.
waiting-paused = The festival paused the sale. Your place stays.
waiting-turn = It is your turn
waiting-turn-lead = Until { $time }. Take your time: nobody overtakes you.
waiting-over = Your turn is over
waiting-over-lead = It passed without an order. You can queue up again.
waiting-open = There is no queue
waiting-people = { $count } people here
waiting-go-on = Go on
waiting-one-order = Your place is good for one order. A refused basket does not use it up.
waiting-choose = Choose passes
waiting-extend = I need longer
waiting-extend-lead = Fifteen minutes more, once.
waiting-again = Once more
waiting-queue-up = Queue up again
waiting-keeps = Your place stays
waiting-keeps-lead = You can close this page or put the phone away. Come back with the same browser and you stand where you stood. The page looks by itself; without script it loads again.
waiting-fair = How the order is made
waiting-fair-lead = Who is here before the opening is drawn at random. Who comes later stands behind them, in the order of coming. Several windows of one browser are one place.
refusal-waiting-room = There is a queue for this one
refusal-waiting-room-lead = Orders need a place in the waiting room whose turn it is.
refusal-place-used = Your place brought an order already
refusal-place-used-lead = For another order queue up again.
refusal-payments-down = Payments do not work just now
refusal-payments-down-lead = So nothing new is sold; what is held is kept. We look every few seconds, try again in a minute.
your-voucher = Voucher
your-voucher-lead = If you have a code. Most people have none.
discount = { $amount } off each
refusal-voucher = The code does not help here
refusal-voucher-lead = Nothing is held.
reason-voucher-unknown = There is no such code. Look at the letters once more.
reason-voucher-used_up = It was used as often as it may be.
reason-voucher-not_now = It is not good today.
reason-voucher-not_for_these = It is for other passes.
waiting-another = For another order
waiting-another-lead = queue up again; this turn ends then.
refusal-slower = Too many open holds
refusal-slower-lead = Pay or give up what you hold, so that there is something for others.
wait-seconds = Try again in { $count } seconds.
waiting-beyond = More people are before you than there is left. Some leave, and holds come back; your place stays.
