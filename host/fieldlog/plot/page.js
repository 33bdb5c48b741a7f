"use strict";
(() => {
  // The page's whole program. Text of the data is only ever drawn or set as text, never as markup.
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("plot");
  const context = canvas.getContext("2d");
  const LEAST_LEFT = 70, LABEL_ROOM = 28, MOST_TICKS = 100;
  let LEFT = LEAST_LEFT; // more where the numbers at the axis are long
  const RIGHT = 14, TOP = 22, BOTTOM = 34, GAP = 26;
  const MORE_NAMES = 80; // pixels for how many names there are besides
  const DASHES = { "-": [], "--": [6, 3], "-.": [6, 3, 1, 3], ":": [1.5, 2.5] };
  const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5,
    36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 12096e5];
  const MONTH_MS = 2629746e3;
  const VALUE_FONT = "11px system-ui, sans-serif";
  const theme = data.theme;
  let view = { begin: data.begin, end: Math.max(data.end, data.begin + 1) };
  const whole = { ...view };
  let size = { width: 0, height: 0 };
  let cursor = null;
  let waiting = false;

  function bytes(number) {
    const text = atob(data.arrays[number]);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
    return found.buffer;
  }

  const cache = new Map();
  function numbers(number, Type) {
    if (!cache.has(number)) cache.set(number, new Type(bytes(number)));
    return cache.get(number);
  }

  function values(line, number) {
    const [bases, steps] = line.scale.map((place) => numbers(place, Float64Array));
    const stored = numbers(number, line.small ? Uint16Array : Float32Array);
    return Float64Array.from(stored, (value, at) => bases[at >> 8] + value * steps[at >> 8]);
  }

  for (const panel of data.panels) {
    for (const line of panel.lines) {
      const ticks = numbers(line.times, Uint32Array);
      line.at = Float64Array.from(ticks, (tick) => data.begin + tick * data.tick);
      line.fresh = new Uint8Array(ticks.length);
      for (const start of numbers(line.starts, Uint32Array)) line.fresh[start] = 1;
      const rows = line.values.map((number) => values(line, number));
      [line.low, line.mean, line.high] = rows.length === 3 ? rows : [rows[0], rows[0], rows[0]];
    }
  }

  // -- what is seen ------------------------------------------------------------------------------------------------

  function firstAt(times, moment) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < moment) low = middle + 1; else high = middle;
    }
    return low;
  }

  // The lowest, mean, highest and last of each column of pixels; `fresh` where the line begins anew. Of values that hold
  // until the next, `mean` is the last one already.
  function columns(line, width) {
    const found = [];
    const scale = width / (view.end - view.begin);
    const from = Math.max(0, firstAt(line.at, view.begin) - 1);
    const to = Math.min(line.at.length, firstAt(line.at, view.end) + 1);
    let column = null;
    for (let i = from; i < to; i++) {
      const x = (line.at[i] - view.begin) * scale;
      const cell = Math.floor(x);
      if (column === null || column.cell !== cell) {
        column = { cell, x, low: line.low[i], high: line.high[i], total: 0, count: 0, fresh: line.fresh[i] || i === from };
        found.push(column);
      }
      column.low = Math.min(column.low, line.low[i]);
      column.high = Math.max(column.high, line.high[i]);
      column.total += line.mean[i];
      column.count += 1;
      column.last = line.mean[i];
    }
    return found;
  }

  // The lowest and highest of a line in what is seen.
  function lineRange(line, found) {
    let low = Infinity, high = -Infinity;
    found.forEach((column, at) => {
      if (column.x > size.width + 1) return;
      const next = found[at + 1];
      if (column.x >= -1) {
        low = Math.min(low, column.low);
        high = Math.max(high, column.high);
      } else if (line.held && next && !next.fresh && next.x >= 0) { // holds into what is seen
        low = Math.min(low, column.last);
        high = Math.max(high, column.last);
      }
    });
    line.spread = high > low ? high - low : line.range[1] - line.range[0];
    return [low, high];
  }

  function panelRange(panel, drawn) {
    let low = Infinity, high = -Infinity;
    drawn.forEach((found, index) => {
      const [lowest, highest] = lineRange(panel.lines[index], found);
      low = Math.min(low, lowest);
      high = Math.max(high, highest);
    });
    if (low > high) return [0, 1];
    const margin = panel.states ? (high - low) * 0.06 + 0.1 : (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
    return [low - margin, high + margin];
  }

  // -- words -------------------------------------------------------------------------------------------------------

  const formats = new Map();
  function formatted(moment, options) {
    const key = JSON.stringify(options);
    if (!formats.has(key)) {
      formats.set(key, new Intl.DateTimeFormat("sv-SE", { timeZone: data.zone, hourCycle: "h23", ...options }));
    }
    return formats.get(key).format(new Date(moment));
  }
  const DAY = { year: "numeric", month: "2-digit", day: "2-digit" };
  const MINUTE = { hour: "2-digit", minute: "2-digit" };
  const SECOND = { ...MINUTE, second: "2-digit" };

  function offsetMs(moment) {
    const text = formatted(moment, { ...DAY, ...SECOND }).replace(" ", "T");
    return Date.parse(text + "Z") - Math.floor(moment / 1000) * 1000;
  }

  function offsetText(moment) {
    const minutes = Math.round(offsetMs(moment) / 6e4);
    const size = Math.abs(minutes);
    const two = (number) => String(number).padStart(2, "0");
    return `UTC${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
  }

  function momentText(moment) {
    const span = view.end - view.begin;
    const part = span < 6e4 ? "." + String(Math.floor(((moment % 1000) + 1000) % 1000)).padStart(3, "0") : "";
    return `${formatted(moment, { ...DAY, ...SECOND })}${part} ${offsetText(moment)}`;
  }

  function tickText(moment, step) {
    if (step >= 864e5) return formatted(moment, DAY);
    if (step >= 6e4) return `${formatted(moment, DAY).slice(5)} ${formatted(moment, MINUTE)}`;
    const part = step < 1000 ? "." + String(Math.floor(((moment % 1000) + 1000) % 1000)).padStart(3, "0") : "";
    return formatted(moment, SECOND) + part;
  }

  // With the digits that tell values of this spread apart.
  function valueText(value, spread) {
    const digits = spread > 0 ? 3 - Math.floor(Math.log10(spread)) : Math.abs(value) < 1e7 ? 3 : 0;
    const place = value ? Math.floor(Math.log10(Math.abs(value))) : 0;
    if (place < 15) return value.toFixed(Math.max(0, Math.min(12, 15 - place, digits)));
    return value.toExponential(Math.max(5, Math.min(15, digits + place)));
  }

  function stateText(panel, value) {
    return panel.states[Math.round(value)] || String(Math.round(value));
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  function draw() {
    waiting = false;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.background;
    context.fillRect(0, 0, width, height);
    const each = Math.max((height - TOP - BOTTOM - GAP * (data.panels.length - 1)) / data.panels.length, 10);
    context.font = VALUE_FONT;
    LEFT = LEAST_LEFT;
    size = { width: Math.max(1, width - LEFT - RIGHT), height };
    const seen = data.panels.map((panel) => {
      const drawn = panel.lines.map((line) => columns(line, size.width));
      const [low, high] = panelRange(panel, drawn);
      return { drawn, low, high, ticks: valueTicks(panel, each, low, high) };
    });
    for (const { ticks } of seen) {
      for (const [, text] of ticks) LEFT = Math.max(LEFT, context.measureText(text).width + LABEL_ROOM);
    }
    if (LEFT > LEAST_LEFT) {
      LEFT = Math.min(LEFT, width / 2);
      size.width = Math.max(1, width - LEFT - RIGHT);
      data.panels.forEach((panel, index) => { seen[index].drawn = panel.lines.map((line) => columns(line, size.width)); });
    }
    data.panels.forEach((panel, index) => drawPanel(panel, TOP + index * (each + GAP), each, seen[index]));
    drawTimes(height - BOTTOM);
    document.getElementById("span").textContent = `${momentText(view.begin)} – ${momentText(view.end)}`;
    canvas.dataset.left = LEFT;
    canvas.dataset.begin = view.begin;
    canvas.dataset.end = view.end;
  }

  function redraw() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(draw);
    }
  }

  const toX = (moment) => LEFT + (moment - view.begin) * size.width / (view.end - view.begin);

  function drawPanel(panel, top, height, { drawn, low, high, ticks }) {
    const toY = (value) => top + height * (high - value) / (high - low);
    drawValues(panel, top, height, ticks, toY);
    context.save();
    context.beginPath();
    context.rect(LEFT, top, size.width, height);
    context.clip();
    context.fillStyle = theme.gap;
    for (const [begin, end] of panel.gaps) {
      if (end >= view.begin && begin <= view.end) {
        context.fillRect(toX(begin), top, Math.max(toX(end) - toX(begin), 1), height);
      }
    }
    panel.lines.forEach((line, index) => drawLine(line, drawn[index], toY));
    drawEvents(data.events[panel.events], top, height);
    context.restore();
    drawNames(panel, top);
  }

  // Whole, with the decimals of `step`, and where all are large or small a power of 1000; in full where that is shorter.
  function tickNumber(value, step, largest) {
    const place = Math.floor(Math.log10(step) + 1e-9);
    let exponent = largest >= 1e7 || (largest < 1e-3 && largest > 0) ? 3 * Math.floor(Math.log10(largest) / 3) : 0;
    if (exponent > 0 && exponent <= 21 && exponent - place >= exponent) exponent = 0;
    const digits = (value / 10 ** exponent).toFixed(Math.max(0, Math.min(17, exponent - place)));
    return !Number(digits) ? "0" : digits + (exponent ? "e" + exponent : "");
  }

  // [value, text] of each tick.
  function valueTicks(panel, height, low, high) {
    const raw = (high - low) / Math.max(2, Math.floor(height / 36));
    const power = 10 ** Math.floor(Math.log10(raw));
    const round = [1, 2, 5, 10].map((part) => part * power).find((part) => part >= raw);
    const step = panel.states ? Math.max(1, Math.round(round)) : round;
    const first = Math.ceil(low / step), largest = Math.max(Math.abs(low), Math.abs(high)), found = [];
    for (let number = 0; number < MOST_TICKS && (first + number) * step <= high; number++) {
      const value = (first + number) * step;
      found.push([value, panel.states ? stateText(panel, value) : tickNumber(value, step, largest)]);
    }
    return found;
  }

  function drawValues(panel, top, height, ticks, toY) {
    context.font = VALUE_FONT;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [value, text] of ticks) {
      const y = toY(value);
      context.fillStyle = theme.grid;
      context.fillRect(LEFT, Math.round(y), size.width, 1);
      context.fillStyle = theme.text;
      context.fillText(text, LEFT - 6, y);
    }
    context.strokeStyle = theme.edge;
    context.lineWidth = 0.7;
    context.strokeRect(LEFT, top, size.width, height);
    context.save();
    context.translate(12, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillStyle = theme.text;
    context.fillText(panel.unit, 0, 0);
    context.restore();
  }

  function drawLine(line, found, toY) {
    context.setLineDash([]);
    context.strokeStyle = line.colour;
    context.globalAlpha = 0.4;
    context.lineWidth = 1;
    context.beginPath();
    for (const column of found) {
      if (column.high > column.low) {
        context.moveTo(LEFT + column.x, toY(column.low));
        context.lineTo(LEFT + column.x, toY(column.high));
      }
    }
    context.stroke();
    for (const [value, below] of line.limits) drawBeyond(line, found, value, below, toY);
    context.globalAlpha = 1;
    context.setLineDash(DASHES[line.dash] || []);
    context.lineWidth = 1.3;
    context.beginPath();
    found.forEach((column, index) => {
      const x = LEFT + column.x, y = toY(line.held ? column.last : column.total / column.count);
      if (line.held && !column.fresh) context.lineTo(x, toY(found[index - 1].last));
      if (column.fresh) context.moveTo(x, y); else context.lineTo(x, y);
      const alone = column.fresh && (index + 1 === found.length || found[index + 1].fresh);
      if (alone) context.rect(x - 1, y - 1, 2, 2);
    });
    context.stroke();
    context.setLineDash([]);
  }

  function drawBeyond(line, found, value, below, toY) {
    context.fillStyle = line.colour;
    context.globalAlpha = 0.3;
    found.forEach((column, index) => {
      const extreme = below ? column.low : column.high;
      if (below ? extreme >= value : extreme <= value) return;
      const next = found[index + 1];
      const holds = !line.held || (below ? column.last < value : column.last > value);
      const width = next && !next.fresh && holds ? next.x - column.x : 1;
      context.fillRect(LEFT + column.x, Math.min(toY(value), toY(extreme)), Math.max(width, 1), Math.abs(toY(value) - toY(extreme)));
    });
    context.globalAlpha = 1;
    context.fillRect(LEFT, toY(value), size.width, 1);
  }

  const EVENTS = { boot: "#D55E00", alarm: "#D55E00", mark: "#CC79A7", start: "#009E73", stop: "#009E73" };
  function drawEvents(events, top, height) {
    let last = -Infinity;
    for (const [moment, kind, text] of events) {
      const x = toX(moment);
      if (x < LEFT || x > LEFT + size.width || kind === "sync") continue;
      context.fillStyle = EVENTS[kind] || theme.edge;
      context.fillRect(x, top, 1, height);
      if (x - last < 12) continue;
      last = x;
      context.save();
      context.translate(x - 3, top + 4);
      context.rotate(-Math.PI / 2);
      context.textAlign = "right";
      context.textBaseline = "bottom";
      context.fillText(text, 0, 0);
      context.restore();
    }
    context.fillStyle = theme.edge;
    for (const [moment, kind] of events) {
      if (kind === "sync") context.fillRect(toX(moment) - 0.5, top, 2, 7);
    }
  }

  function drawNames(panel, top) {
    let x = LEFT;
    context.textAlign = "left";
    context.textBaseline = "bottom";
    const right = LEFT + size.width;
    for (const [at, line] of panel.lines.entries()) {
      const width = context.measureText(line.name).width;
      const others = panel.lines.length - at;
      if (x + width + 24 + (others > 1 ? MORE_NAMES : 0) > right && x > LEFT) {
        context.fillStyle = theme.text;
        context.fillText(`and ${others} more`, x, top - 3);
        break;
      }
      context.fillStyle = line.colour;
      context.fillRect(x, top - 10, 14, 3);
      context.fillStyle = theme.text;
      context.fillText(line.name, x + 18, top - 3);
      x += width + 34;
    }
  }

  function* evenTimes(step) {
    const first = Math.floor((view.begin + offsetMs(view.begin)) / step) * step;
    for (let number = 0; number < 10000; number++) yield first + number * step;
  }

  function* months(least) {
    const apart = [1, 2, 3, 6, 12, 24, 60, 120, 600].find((one) => one * MONTH_MS >= least) || 6000;
    const first = new Date(view.begin + offsetMs(view.begin));
    const month = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / apart) * apart;
    for (let number = month; number < month + 10000 * apart; number += apart) {
      yield Date.UTC(Math.floor(number / 12), number % 12, 1); // a year below 100 would be one of the last century
    }
  }

  function offsetsInForce() {
    const found = new Set();
    for (let part = 0; part <= 24; part++) found.add(offsetText(view.begin + (view.end - view.begin) * part / 24));
    return found;
  }

  function drawTimes(y) {
    const least = (view.end - view.begin) / Math.max(1, size.width / 130);
    const step = STEPS_MS.find((one) => one >= least) || 0;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillStyle = theme.text;
    let last = -Infinity;
    for (const local of step ? evenTimes(step) : months(least)) {
      let moment = local - offsetMs(view.begin);
      moment = local - offsetMs(moment);
      if (moment > view.end) break;
      const x = toX(moment);
      if (x < LEFT || x - last < 60) continue;
      last = x;
      context.fillRect(x, y, 1, 5);
      const text = tickText(moment, step || MONTH_MS);
      context.fillText(text, Math.min(x, LEFT + size.width + RIGHT - context.measureText(text).width / 2), y + 7);
    }
    context.textAlign = "right";
    const offsets = [...offsetsInForce()].join(" / ");
    context.fillText(data.zone === "UTC" ? offsets : `${data.zone}, ${offsets}`, LEFT + size.width, y + 21);
  }

  // -- reading out, zooming and moving -----------------------------------------------------------------------------

  function nearest(line, moment) {
    const after = firstAt(line.at, moment);
    if (after === 0) return 0;
    if (after === line.at.length) return after - 1;
    return moment - line.at[after - 1] <= line.at[after] - moment ? after - 1 : after;
  }

  // Which reading tells the value at a moment; -1 where none does.
  function telling(line, moment, reach) {
    const at = nearest(line, moment);
    if (!line.held) return Math.abs(line.at[at] - moment) > reach ? -1 : at;
    const held = line.at[at] > moment ? at - 1 : at;
    if (held < 0) return line.at[0] - moment > reach ? -1 : 0;
    const goesOn = held + 1 < line.at.length && !line.fresh[held + 1];
    return goesOn || moment - line.at[held] <= reach ? held : -1;
  }

  function readOut(x) {
    const moment = view.begin + (x - LEFT) * (view.end - view.begin) / size.width;
    const reach = (view.end - view.begin) / size.width * 8;
    const parts = [];
    for (const panel of data.panels) {
      for (const line of panel.lines) {
        const at = telling(line, moment, reach);
        if (at < 0) continue;
        const text = (value) => panel.states ? stateText(panel, value) : valueText(value, line.spread);
        const unit = panel.unit ? " " + panel.unit : "";
        const one = line.low[at] === line.high[at];
        const range = one ? "" : ` (${text(line.low[at])} to ${text(line.high[at])})`;
        parts.push(`${line.name}: ${text(line.mean[at])}${range}${unit}`);
      }
    }
    for (const [at, , text] of data.events.flat()) {
      if (Math.abs(at - moment) <= reach / 2 && !parts.includes(text)) parts.push(text);
    }
    document.getElementById("read").textContent = [momentText(moment), ...parts].join("   ");
  }

  function show(begin, end) {
    const least = Math.max(data.tick * 4, 0.01);
    const span = Math.min(Math.max(end - begin, least), whole.end - whole.begin);
    const first = Math.min(Math.max(begin, whole.begin), whole.end - span);
    view = { begin: first, end: first + span };
    redraw();
  }

  function zoom(factor, x) {
    const share = Math.min(Math.max((x - LEFT) / size.width, 0), 1);
    const span = view.end - view.begin;
    const fixed = view.begin + share * span;
    show(fixed - share * span * factor, fixed + (1 - share) * span * factor);
  }

  const move = (share) => show(view.begin + share * (view.end - view.begin), view.end + share * (view.end - view.begin));

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.0015), event.offsetX);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    cursor = { x: event.offsetX, begin: view.begin, end: view.end };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (cursor) {
      const by = (cursor.x - event.offsetX) * (cursor.end - cursor.begin) / size.width;
      show(cursor.begin + by, cursor.end + by);
    }
    readOut(event.offsetX);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { cursor = null; });
  canvas.addEventListener("dblclick", () => show(whole.begin, whole.end));
  canvas.addEventListener("keydown", (event) => {
    const middle = LEFT + size.width / 2;
    const actions = {
      "+": () => zoom(0.5, middle), "=": () => zoom(0.5, middle), "-": () => zoom(2, middle),
      "0": () => show(whole.begin, whole.end), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  window.addEventListener("resize", redraw);

  data.table.forEach((texts, number) => {
    const row = document.getElementById("stats").insertRow();
    for (const text of texts) row.appendChild(document.createElement(number ? "td" : "th")).textContent = text;
  });
  document.getElementById("title").textContent = data.title;
  document.getElementById("key").textContent = data.key;
  document.body.style.background = theme.background;
  document.body.style.color = theme.text;
  draw();
})();
