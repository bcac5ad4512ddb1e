#include "runtime/Bank/LedgerTable.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace moe::rt {
namespace {

std::string formatted(const char *format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::optional<double> numberOf(const Json &object, const char *name) {
  const Json *value = object.find(name);
  if (!value || value->kind != Json::Kind::Number)
    return std::nullopt;
  return std::strtod(value->text.c_str(), nullptr);
}

bool isTrue(const Json &object, const char *name) {
  const Json *value = object.find(name);
  return value && value->kind == Json::Kind::Bool && value->text == "true";
}

/// Calls `add(entry, name)` for the entries of the list under `key`; each has a
/// text under `title`.
template <typename Add>
Status forEntries(const Json &manifest, const char *key, const char *title,
                  const Add &add) {
  const Json *list = manifest.find(key);
  if (!list)
    return {};
  Status bad(Code::InvalidFile, text("the manifest's ", quote(key),
                                     " is no list of steps and their costs"));
  if (!list->isArray())
    return bad;
  for (const Json &entry : list->items) {
    const Json *name = entry.find(title);
    if (!name || !name->isString() || !add(entry, name->text))
      return bad;
  }
  return {};
}

/// Sets `to`; false where there is no such number.
bool take(const Json &entry, const char *name, double &to) {
  std::optional<double> value = numberOf(entry, name);
  to = value.value_or(0);
  return value.has_value();
}

} // namespace

Result<std::vector<LedgerLine>> ledgerLines(const Json &manifest) {
  std::vector<LedgerLine> lines;
  Status status = forEntries(
      manifest, "compression", "step",
      [&](const Json &entry, const std::string &step) {
        LedgerLine line;
        line.step = step;
        line.outputError = numberOf(entry, "output_error");
        line.bitsPerByte = numberOf(entry, "bits_per_byte");
        bool known =
            take(entry, "params", line.params) &&
            take(entry, "bytes", line.bytes) &&
            take(entry, "expert_bytes", line.expertBytes) &&
            take(entry, "active_params", line.activeParams) &&
            take(entry, "bytes_read_per_token", line.bytesReadPerToken) &&
            take(entry, "flops_per_token", line.flopsPerToken);
        lines.push_back(std::move(line));
        return known;
      });
  if (!status.ok())
    return status;
  return lines;
}

Result<std::vector<FrontLine>> frontLines(const Json &manifest) {
  std::vector<FrontLine> lines;
  Status status =
      forEntries(manifest, "front", "steps",
                 [&](const Json &entry, const std::string &steps) {
                   FrontLine line;
                   line.steps = steps;
                   line.loss = numberOf(entry, "loss");
                   line.isOnFront = isTrue(entry, "front");
                   line.isChosen = isTrue(entry, "chosen");
                   bool known = take(entry, "share", line.share) &&
                                take(entry, "output_error", line.outputError);
                   lines.push_back(std::move(line));
                   return known;
                 });
  if (!status.ok())
    return status;
  return lines;
}

Result<std::vector<RefusedLine>> refusedLines(const Json &manifest) {
  std::vector<RefusedLine> lines;
  Status status = forEntries(manifest, "front_refused", "steps",
                             [&](const Json &entry, const std::string &steps) {
                               const Json *why = entry.find("why");
                               if (why)
                                 lines.push_back({steps, why->text});
                               return why && why->isString();
                             });
  if (!status.ok())
    return status;
  return lines;
}

std::string shareText(double share) {
  std::string out = formatted("%.2f", 100 * share);
  if (std::strtod(out.c_str(), nullptr) / 100 < share)
    out = formatted("%.2f", 100 * share + 0.01);
  return out + "%";
}

std::string lossText(double loss) {
  std::string out = formatted("%.4f", loss);
  if (std::strtod(out.c_str(), nullptr) < loss)
    out = formatted("%.4f", loss + 0.0001);
  return out;
}

std::string ledgerTable(const std::vector<LedgerLine> &lines) {
  if (lines.empty())
    return "";
  bool hasError = std::any_of(lines.begin(), lines.end(), [](const auto &line) {
    return line.outputError.has_value();
  });
  bool hasBits = std::any_of(lines.begin(), lines.end(), [](const auto &line) {
    return line.bitsPerByte.has_value();
  });
  std::vector<std::string> names;
  size_t width = 8;
  for (const LedgerLine &line : lines) {
    names.push_back(line.step.empty() ? "original" : printable(line.step));
    width = std::max(width, names.back().size());
  }
  auto padded = [&](const std::string &name) {
    return name + std::string(width - name.size() + 1, ' ');
  };
  std::string out = padded("step") + "  params/M  bytes/MB  experts/MB      %"
                                     "  active/M  read MB/token  MFLOP/token";
  out += hasError ? "  output error" : "";
  out += hasBits ? "  bits/byte     loss" : "";
  out += "\n";
  const LedgerLine &first = lines.front();
  for (size_t i = 0; i < lines.size(); ++i) {
    const LedgerLine &line = lines[i];
    std::string row = padded(names[i]);
    row += formatted("%10.3f", line.params / 1e6);
    row += formatted("%10.3f", line.bytes / 1e6);
    row += formatted("%12.3f", line.expertBytes / 1e6);
    row += formatted("%7.2f",
                     100 * line.expertBytes / std::max(first.expertBytes, 1.0));
    row += formatted("%10.3f", line.activeParams / 1e6);
    row += formatted("%15.3f", line.bytesReadPerToken / 1e6);
    row += formatted("%13.3f", line.flopsPerToken / 1e6);
    if (hasError)
      row += line.outputError ? formatted("%14.4f", *line.outputError)
                              : std::string(14, ' ');
    if (line.bitsPerByte) {
      row += formatted("%11.4f", *line.bitsPerByte);
      if (first.bitsPerByte)
        row += formatted("%+9.4f", *line.bitsPerByte - *first.bitsPerByte);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  }
  return out;
}

std::string frontTable(const std::vector<FrontLine> &lines) {
  if (lines.empty())
    return "";
  std::string out = "   bytes  output error  loss measured  recipe (* on the "
                    "front, > chosen)\n";
  for (const FrontLine &line : lines) {
    std::string share = shareText(line.share);
    out += std::string(share.size() < 8 ? 8 - share.size() : 0, ' ') + share;
    out += formatted("%14.4f", line.outputError);
    out += line.loss ? formatted("%+15.4f", *line.loss)
                     : std::string(14, ' ') + "-";
    out += line.isChosen ? " >" : "  ";
    out += line.isOnFront ? "* " : "  ";
    out += printable(line.steps) + "\n";
  }
  return out;
}

std::string refusedTable(const std::vector<RefusedLine> &lines) {
  std::string out;
  std::set<std::string> told;
  for (const RefusedLine &first : lines) {
    if (!told.insert(first.why).second)
      continue;
    out += "refused: " + printable(first.why) + "\n";
    for (const RefusedLine &line : lines)
      if (line.why == first.why)
        out += "         " + printable(line.steps) + "\n";
  }
  return out;
}

} // namespace moe::rt
