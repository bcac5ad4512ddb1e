#include "frontends/HuggingFace/Record.h"

#include "frontends/HuggingFace/JsonValues.h"
#include "runtime/Core/Text.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hf;
using rt::Json;

static constexpr const char *kVersion = "1.0";
static constexpr const char *kMatrices[] = {"gate", "up", "down"};

/// All matrices the same way: its name; else an object by matrix.
static Json storageJson(const std::map<std::string, Storage> &storage) {
  bool same = storage.size() == 3;
  for (const auto &[matrix, own] : storage)
    same &= own.name() == storage.begin()->second.name();
  if (same)
    return jsonText(storage.begin()->second.name());
  Json json = jsonObject();
  for (const auto &[matrix, own] : storage)
    setMember(json, matrix, jsonText(own.name()));
  return json;
}

static Json entryJson(const EntryRecord &entry) {
  Json json = jsonObject();
  setMember(json, "name", jsonText(entry.name));
  if (!entry.alias.empty())
    setMember(json, "alias", jsonText(entry.alias));
  if (!entry.null.empty())
    setMember(json, "null", jsonText(entry.null));
  if (entry.width)
    setMember(json, "width", jsonNumber(*entry.width));
  if (!entry.storage.empty())
    setMember(json, "storage", storageJson(entry.storage));
  if (!entry.nOfM.empty()) {
    Json list = jsonArray();
    for (int64_t n : entry.nOfM)
      list.items.push_back(jsonNumber(n));
    setMember(json, "n_of_m", std::move(list));
  }
  return json.members.size() == 1 ? jsonText(entry.name) : json;
}

void Record::addTo(Json &object) const {
  setMember(object, "version", jsonText(kVersion));
  Json history = jsonArray();
  for (const auto &[name, stage] : steps) {
    Json step = jsonObject();
    setMember(step, "name", jsonText(name));
    setMember(step, "stage", jsonNumber(stage));
    history.items.push_back(std::move(step));
  }
  setMember(object, "steps", std::move(history));
  Json forms = jsonObject(), all = jsonObject();
  for (const auto &[index, layer] : layers) {
    Json json = jsonObject(), list = jsonArray();
    if (layer.topK)
      setMember(json, "top_k", jsonNumber(*layer.topK));
    if (layer.skipRatio)
      setMember(json, "skip_ratio", jsonNumber(*layer.skipRatio));
    if (!layer.norm.empty())
      setMember(json, "norm", jsonText(layer.norm));
    for (const EntryRecord &entry : layer.entries) {
      for (const auto &[matrix, storage] : entry.storage)
        setMember(forms, storage.name(), storage.json());
      list.items.push_back(entryJson(entry));
    }
    setMember(json, "experts", std::move(list));
    setMember(all, std::to_string(index), std::move(json));
  }
  setMember(object, "storage", std::move(forms));
  setMember(object, "layers", std::move(all));
}

namespace {
class Parser {
public:
  Parser(const Json &object, function_ref<InFlightDiagnostic()> emitError)
      : object(object), emitError(emitError) {}

  FailureOr<Record> run();

private:
  LogicalResult layer(StringRef index, const Json &json, Record &record);
  LogicalResult entry(const Json &json, LayerRecord &layer);
  InFlightDiagnostic wrong(const Twine &what) {
    return emitError() << "'" << kRecord << "': " << what;
  }

  const Json &object;
  function_ref<InFlightDiagnostic()> emitError;
  std::map<std::string, Storage> forms;
};
} // namespace

static std::optional<int64_t> positive(const Json *json) {
  auto number = json ? json->asUnsigned() : std::nullopt;
  if (!number || *number == 0 || *number > INT32_MAX)
    return std::nullopt;
  return static_cast<int64_t>(*number);
}

LogicalResult Parser::entry(const Json &json, LayerRecord &layer) {
  EntryRecord entry;
  auto text = [&](const char *key) {
    const Json *value = json.find(key);
    return value && value->isString() ? value->text : std::string();
  };
  entry.name = json.isString() ? json.text : text("name");
  entry.alias = text("alias");
  entry.null = text("null");
  auto bad = [&](const char *what) {
    return wrong("entry '" + rt::printable(entry.name) + "' " + what);
  };
  if (entry.name.empty())
    return bad("has no name");
  if (!entry.null.empty() && entry.null != "zero" && entry.null != "copy")
    return bad("is a null expert that is neither zero nor copy");
  if (const Json *width = json.find("width"))
    if (!(entry.width = positive(width)))
      return bad("has a width that is no number above 0");
  if (const Json *list = json.find("n_of_m")) {
    for (const Json &item : list->items)
      entry.nOfM.push_back(positive(&item).value_or(0));
    if (entry.nOfM.size() != 2 || entry.nOfM[0] < 1 ||
        entry.nOfM[0] >= entry.nOfM[1])
      return bad("has an n_of_m that is no pair of numbers");
  }
  if (const Json *storage = json.find("storage"))
    for (const char *matrix : kMatrices) {
      const Json *own = storage->isString() ? storage : storage->find(matrix);
      if (!own)
        continue;
      auto known = forms.find(own->text);
      if (known == forms.end())
        return bad("names a storage that is not described");
      entry.storage[matrix] = known->second;
    }
  layer.entries.push_back(std::move(entry));
  return success();
}

LogicalResult Parser::layer(StringRef index, const Json &json, Record &record) {
  int64_t number = 0;
  // "00" would be layer 0 once more.
  if (index.getAsInteger(10, number) || number < 0 ||
      index != std::to_string(number))
    return wrong("layer '" + rt::printable(index) + "' is no number");
  LayerRecord &layer = record.layers[number];
  if (const Json *topK = json.find("top_k"))
    if (!(layer.topK = positive(topK)))
      return wrong("top_k of layer " + index + " is no number above 0");
  if (const Json *skip = json.find("skip_ratio")) {
    layer.skipRatio = finiteNumber(*skip);
    if (!layer.skipRatio || *layer.skipRatio < 0)
      return wrong("skip_ratio of layer " + index + " is no number >= 0");
  }
  if (const Json *norm = json.find("norm")) {
    layer.norm = norm->text;
    if (layer.norm != "real" && layer.norm != "nonzero")
      return wrong("norm of layer " + index + " is neither real nor nonzero");
  }
  const Json *entries = json.find("experts");
  if (!entries || !entries->isArray() || entries->items.empty())
    return wrong("layer " + index + " has no list of experts");
  for (const Json &item : entries->items)
    if (failed(entry(item, layer)))
      return failure();
  return success();
}

FailureOr<Record> Parser::run() {
  const Json *version = object.find("version");
  if (!version || !version->isString())
    return wrong("has no version");
  if (version->text != kVersion)
    return wrong("is of version '" + rt::printable(version->text) + "', but " +
                 kVersion + " is known here");
  Record record;
  if (const Json *steps = object.find("steps"))
    for (const Json &step : steps->items) {
      const Json *name = step.find("name"), *stage = step.find("stage");
      if (!name || !stage || !stage->asUnsigned())
        return wrong("has a step without name or stage");
      record.steps.emplace_back(name->text,
                                static_cast<int64_t>(*stage->asUnsigned()));
    }
  if (const Json *storage = object.find("storage"))
    for (const auto &[name, json] : storage->members) {
      auto parsed = Storage::parse(json);
      if (!parsed)
        return wrong("storage '" + rt::printable(name) + "' is not known");
      forms[name] = *parsed;
    }
  const Json *layers = object.find("layers");
  if (!layers || !layers->isObject())
    return wrong("has no layers");
  for (const auto &[index, json] : layers->members)
    if (failed(layer(index, json, record)))
      return failure();
  return record;
}

FailureOr<Record> Record::parse(const Json &object,
                                function_ref<InFlightDiagnostic()> emitError) {
  return Parser(object, emitError).run();
}
