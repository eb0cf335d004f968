"""Stripe for tests: localstripe (payment intents, refunds, events, webhooks; written by somebody else) and what it lacks: Checkout Sessions with their
page, accounts, keys that are wrong, idempotency keys, and moods. Parameters that the types of Stripe's official SDK do not know are refused.

usage: python stand_in.py FIXTURES NOW; prints its port. POST /_mood {"sessions": MOOD, "refunds": MOOD} changes how it answers, POST /_time SECONDS moves its
clock, POST /_act lets somebody pay or a refund change, GET /_told counts calls."""

import ast, asyncio, html, importlib.util, json, pathlib, socket, sys, time

from aiohttp import web
from localstripe import resources, server
from localstripe.errors import UserError
from localstripe.webhooks import schedule_webhook

FIXTURES = json.loads(pathlib.Path(sys.argv[1]).read_text())
SDK = pathlib.Path(importlib.util.find_spec("stripe").submodule_search_locations[0])
BASE = ""
moods, told, answers = {}, {}, {}
real_time, ahead = time.time, float(sys.argv[2]) - time.time()
time.time = lambda: real_time() + ahead
resources.store.dump_to_disk = lambda: None


class Types:
    """The typed dictionaries of a file of the SDK: which members there are and what they hold."""

    def __init__(self, path):
        tree = ast.parse((SDK / path).read_text())
        self.root = next(node.name for node in tree.body if isinstance(node, ast.ClassDef))
        self.classes = {
            node.name: {member.target.id: member.annotation for member in node.body if isinstance(member, ast.AnnAssign)}
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        }

    def check(self, value, kind=None, place=""):
        if kind is None:
            return self.check(value, ast.Name(self.root), place)
        if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
            return self.check(value, ast.parse(kind.value, mode="eval").body, place)
        if isinstance(kind, ast.Name) and kind.id in self.classes:
            if not isinstance(value, dict):
                raise wrong(place, "has to be an object")
            members = self.classes[kind.id]
            for name, inner in value.items():
                if name not in members:
                    raise wrong(f"{place}[{name}]" if place else name, "is unknown")
                self.check(inner, members[name], f"{place}[{name}]" if place else name)
            return
        if isinstance(kind, ast.Name):
            if kind.id == "int" and not str(value).lstrip("-").isdigit() or kind.id == "bool" and value not in ("true", "false") or kind.id == "str" and not isinstance(value, str):
                raise wrong(place, f"has to be {kind.id}")
            return
        if isinstance(kind, ast.BinOp):
            return self.check_any(value, [kind.left, kind.right], place)
        if isinstance(kind, ast.Subscript):
            name, inner = kind.value.id, kind.slice
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "NotRequired":
                return self.check(value, inner, place)
            if name == "Union":
                return self.check_any(value, items, place)
            if name == "Literal":
                if value not in [item.value for item in items]:
                    raise wrong(place, f"{value!r} is none of its values")
                return
            if name == "List":
                if not isinstance(value, list):
                    raise wrong(place, "has to be a list")
                for n, item in enumerate(value):
                    self.check(item, inner, f"{place}[{n}]")
                return
            if name == "Dict":
                if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
                    raise wrong(place, "has to be a dictionary of texts")
                return
        raise AssertionError(f"a type that the stand-in cannot read: {ast.dump(kind)}")

    def check_any(self, value, kinds, place):
        # `Literal[..]|str` lets every text through so that old programs see new values; what we send has to be one that is known.
        if any(isinstance(kind, ast.Subscript) and kind.value.id == "Literal" for kind in kinds):
            kinds = [kind for kind in kinds if not (isinstance(kind, ast.Name) and kind.id == "str")]
        error = None
        for kind in kinds:
            try:
                return self.check(value, kind, place)
            except UserError as failed:
                error = failed
        raise error


def wrong(place, why):
    return UserError(400, f"{place} {why}", {"code": "parameter_unknown" if why == "is unknown" else "parameter_invalid", "param": place})


TYPES = {
    "/v1/checkout/sessions": Types("params/checkout/_session_create_params.py"),
    "/v1/refunds": Types("params/_refund_create_params.py"),
}


class Session(resources.StripeObject):
    object = "checkout.session"
    _id_prefix = "cs_test_"

    def __init__(self, **params):
        item = params["line_items"][0]
        price = item["price_data"]
        expires_at, now = int(params["expires_at"]), int(time.time())
        if not now + 1800 <= expires_at <= now + 86400:
            raise wrong("expires_at", "has to be 30 minutes to 24 hours from now")
        if int(price["unit_amount"]) < 50 and price["currency"] in ("eur", "usd", "gbp"):
            raise UserError(400, "The amount is too small", {"code": "amount_too_small"})
        super().__init__()
        for name, value in FIXTURES["checkout.session"].items():
            if name not in ("id", "object", "created", "livemode"):
                setattr(self, name, value)
        self.amount_subtotal = self.amount_total = int(price["unit_amount"]) * int(item["quantity"])
        self.currency, self.expires_at, self.mode, self.status = price["currency"], expires_at, params["mode"], "open"
        self.client_reference_id, self.metadata, self.payment_intent = params.get("client_reference_id"), params.get("metadata", {}), None
        self.success_url, self.cancel_url, self.payment_status = params["success_url"], params["cancel_url"], "unpaid"
        self.customer_email, self.allowed_payment_method_types = params.get("customer_email"), params.get("allowed_payment_method_types")
        self.url = f"{BASE}/c/pay/{self.id}"
        self._intent_data = params.get("payment_intent_data", {})
        self._name = price["product_data"]["name"]

    def _pay(self, number="4242424242424242", amount=None):
        self._still_open()
        card = resources.PaymentMethod(type="card", card={"number": number, "exp_month": 12, "exp_year": 2099, "cvc": "123"})
        intent = resources.PaymentIntent(amount=amount or self.amount_total, currency=self.currency, payment_method=card.id, metadata=self._intent_data.get("metadata"))
        self.payment_intent = intent.id
        intent._confirm(on_failure_now=intent._report_failure)
        self.status, self.payment_status, self.url = "complete", "paid", None
        if amount:
            self.amount_total = amount
        schedule_webhook(resources.Event("checkout.session.completed", self))

    def _expire(self):
        self._still_open()
        self.status, self.url = "expired", None
        schedule_webhook(resources.Event("checkout.session.expired", self))

    def _still_open(self):
        if self.status != "open":
            raise UserError(400, f"This Checkout Session is {self.status}", {"code": "checkout_session_not_open"})


def there_is_left(params):
    intent = resources.PaymentIntent._api_retrieve(params["payment_intent"])
    back = sum(r.amount for k, r in resources.store.items() if k.startswith("refund:") and r.payment_intent == intent.id and r.status != "failed")
    if back + int(params["amount"]) > intent.amount:
        raise UserError(400, "Refund amount is greater than unrefunded amount on charge", {"code": "charge_already_refunded"})


class Dispute(resources.StripeObject):
    object = "dispute"
    _id_prefix = "dp_"

    def __init__(self, intent, amount):
        super().__init__()
        for name, value in FIXTURES["dispute"].items():
            if name not in ("id", "object", "created", "livemode"):
                setattr(self, name, value)
        self.payment_intent, self.amount, self.currency, self.status = intent.id, amount or intent.amount, intent.currency, "needs_response"


async def dispute(request):
    return server.json_response(Dispute._api_retrieve(request.match_info["id"])._export())


def listed(request, kind, export):
    """A page of a list, the latest first (https://docs.stripe.com/api/pagination)."""
    query = server.unflatten_data(request.query)
    created, limit = query.get("created", {}), int(query.get("limit", 10))
    everything = [o for k, o in resources.store.items() if k.startswith(kind + ":") and int(created.get("gte", 0)) <= o.created < int(created.get("lt", 1 << 60))]
    everything.sort(key=lambda o: (o.created, o.id), reverse=True)
    after = query.get("starting_after")
    start = next((n + 1 for n, o in enumerate(everything) if o.id == after), 0)
    # Small pages: whoever reads them has to go on.
    page = everything[start : start + min(limit, 2)]
    return server.json_response({"object": "list", "data": [export(o) for o in page], "has_more": start + len(page) < len(everything), "url": request.path})


async def sessions(request):
    return listed(request, "checkout.session", lambda o: o._export())


async def create(request):
    params = await server.get_post_data(request) or {}
    return server.json_response(Session(**params)._export())


async def retrieve(request):
    return server.json_response(Session._api_retrieve(request.match_info["id"])._export())


async def expire(request):
    session = Session._api_retrieve(request.match_info["id"])
    session._expire()
    return server.json_response(session._export())


async def page(request):
    session = Session._api_retrieve(request.match_info["id"])
    said = ""
    if request.method == "POST":
        decision = (await request.post()).get("decision")
        try:
            session._pay("4000000000000341" if decision == "decline" else "4242424242424242")
            raise web.HTTPSeeOther(session.success_url)
        except UserError as error:
            said = f'<p role="alert">{html.escape(error.body["error"]["message"])}</p>'
    buttons = '<button name="decision" value="pay">Pay</button> <button name="decision" value="decline">Pay with a card that is declined</button>'
    body = f'<h1>{html.escape(session._name)}</h1><p>{session.amount_total} {session.currency}</p>{said}'
    body += f'<form method="post">{buttons}</form>' if session.status == "open" else f"<p>This page is {session.status}.</p>"
    return web.Response(text=f'<!doctype html><html lang="en"><title>Checkout</title>{body}<a href="{html.escape(session.cancel_url)}">Back</a></html>', content_type="text/html")


async def account(request):
    key = server.get_api_key(request) or request.headers.get("Authorization", "").removeprefix("Bearer ")
    name = key.split("_")[2]
    return server.json_response({"id": f"acct_{name}", "object": "account", "charges_enabled": "idle" not in name})


async def mood(request):
    moods.clear()
    moods.update(await request.json())
    return web.json_response({})


async def forget(request):
    answers.clear()
    return web.json_response({})


async def move(request):
    global ahead
    ahead += float(await request.text())
    return web.json_response({})


async def count(request):
    return web.json_response({**told, "sessions": [s._export() for k, s in resources.store.items() if k.startswith("checkout.session:")]})


async def act(request):
    """Somebody pays or leaves a session without its page: {"session", "act": "pay" | "decline" | "expire", "amount"}; or a refund changes."""
    said = await request.json()
    if said.get("act") == "refund by hand":
        session = Session._api_retrieve(said["session"])
        made = resources.Refund(payment_intent=session.payment_intent, amount=said["amount"])
        return web.json_response({"id": made.id})
    if said.get("act") == "lie":
        # Its books say another amount than before.
        Session._api_retrieve(said["session"]).amount_total = said["amount"]
        return web.json_response({})
    if said.get("act") == "lose":
        del resources.store["checkout.session:" + said["session"]]
        return web.json_response({})
    if refund := said.get("refund"):
        found = resources.Refund._api_retrieve(refund)
        found.status, found.failure_reason = said["status"], said.get("reason")
        schedule_webhook(resources.Event("refund.updated", found))
        return web.json_response({})
    if known := said.get("dispute"):
        found = Dispute._api_retrieve(known)
        found.status = said["status"]
        schedule_webhook(resources.Event("charge.dispute.closed", found))
        return web.json_response({})
    session = Session._api_retrieve(said["session"])
    if said["act"] == "dispute":
        made = Dispute(resources.PaymentIntent._api_retrieve(session.payment_intent), said.get("amount"))
        schedule_webhook(resources.Event("charge.dispute.created", made))
        return web.json_response({"id": made.id})
    if said["act"] == "expire":
        session._expire()
    else:
        session._pay("4000000000000341" if said["act"] == "decline" else "4242424242424242", said.get("amount"))
    return web.json_response({})


@web.middleware
async def stripe(request, handler):
    if not request.path.startswith("/v1/"):
        return await handler(request)
    part = "refunds" if "refund" in request.path else "sessions" if "checkout" in request.path else "rest"
    call = f"{request.method} {request.path}" if request.path in TYPES else f"{request.method} {part}"
    told[call] = told.get(call, 0) + 1
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not key.startswith(("sk_", "rk_")) or "revoked" in key:
        return server.json_response({"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}, status=401)
    if "forbidden" in key:
        return server.json_response({"error": {"type": "invalid_request_error", "message": "This key may not do that"}}, status=403)
    way = moods.get(part)
    if way == "revoked":
        return server.json_response({"error": {"type": "invalid_request_error", "message": "Expired API Key provided"}}, status=401)
    if request.method == "GET" and request.path == "/v1/refunds" and "created" in server.unflatten_data(request.query):
        return listed(request, "refund", lambda o: o._export())
    if way == "down":
        return server.json_response({"error": {"type": "api_error", "message": "Something went wrong"}}, status=503)
    if way == "slow":
        await asyncio.sleep(30)
    if way == "no_funds" and request.method == "POST":
        return server.json_response({"error": {"type": "invalid_request_error", "code": "balance_insufficient", "message": "Insufficient funds in your balance"}}, status=400)
    if way == "nonsense":
        return web.Response(text="<html>It works!</html>", content_type="text/html")
    once, body = request.headers.get("Idempotency-Key"), await request.read()
    known = answers.get((request.path, once)) if once else None
    if known and known[0] != body:
        return server.json_response({"error": {"type": "idempotency_error", "message": "Keys can only be used with the same parameters"}}, status=400)
    if known:
        answer = web.Response(body=known[1], content_type="application/json")
    else:
        try:
            if request.method == "POST" and request.path in TYPES:
                params = await server.get_post_data(request) or {}
                TYPES[request.path].check(params)
                if part == "refunds":
                    there_is_left(params)
            answer = await handler(request)
            if way == "pending" and request.method == "POST":
                made = resources.Refund._api_retrieve(json.loads(answer.body)["id"])
                made.status = "pending"
                answer = server.json_response(made._export())
        except UserError as error:
            return error.to_response()
        if once and answer.status == 200:
            answers[(request.path, once)] = (body, answer.body)
    if way == "lost" and request.method == "POST":
        # It happened, and nobody hears of it.
        request.transport.close()
    return answer


app = server.app
app.middlewares.insert(0, stripe)
for method, path, handler in (
    ("POST", "/v1/checkout/sessions", create),
    ("GET", "/v1/checkout/sessions", sessions),
    ("GET", "/v1/checkout/sessions/{id}", retrieve),
    ("POST", "/v1/checkout/sessions/{id}/expire", expire),
    ("GET", "/favicon.ico", lambda request: web.Response(status=204)),
    ("GET", "/v1/account", account),
    ("GET", "/v1/disputes", lambda request: server.json_response({"object": "list", "data": [], "has_more": False})),
    ("GET", "/v1/disputes/{id}", dispute),
    ("GET", "/c/pay/{id}", page),
    ("POST", "/c/pay/{id}", page),
    ("POST", "/_mood", mood),
    ("POST", "/_time", move),
    ("POST", "/_forget", forget),
    ("GET", "/_told", count),
    ("POST", "/_act", act),
):
    app.router.add_route(method, path, handler)
# localstripe asks who is calling on every other path, and knows secret keys only: keys are judged above.
server.get_api_key = lambda request: request.headers.get("Authorization", "Bearer sk_page").split(" ")[-1]

sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("127.0.0.1", 0))
BASE = f"http://127.0.0.1:{sock.getsockname()[1]}"
print(sock.getsockname()[1], flush=True)
web.run_app(app, sock=sock, print=None)
