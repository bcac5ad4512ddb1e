#include "frontends/HuggingFace/Storage.h"

#include "frontends/HuggingFace/JsonValues.h"

using namespace moe;
using namespace moe::hf;
using rt::Json;

std::string Storage::name() const {
  if (isPlain())
    return "plain";
  if (isFactored()) {
    std::string name = hasBase ? "base" : "";
    for (auto [has, term] :
         {std::pair(hasFactors, "low-rank"), std::pair(hasRows, "rows")})
      if (has)
        name += (name.empty() ? "" : "+") + std::string(term);
    return scale == 1 ? name : name + "*" + jsonNumber(scale).text;
  }
  std::string kind = isFloat ? "fp8" : code;
  if (!isFloat && code == "int")
    kind += std::to_string(bits);
  return kind + "." + (block ? std::to_string(block) : "row") +
         (hasZeros ? ".zeros" : "");
}

Json Storage::json() const {
  Json json = jsonObject();
  if (isFactored()) {
    Json terms = jsonArray();
    for (auto [has, term] :
         {std::pair(hasBase, "base"), std::pair(hasFactors, "factors"),
          std::pair(hasRows, "rows")})
      if (has)
        terms.items.push_back(jsonText(term));
    setMember(json, "terms", std::move(terms));
    if (scale != 1)
      setMember(json, "scale", jsonNumber(scale));
    return json;
  }
  setMember(json, "code", jsonText(isFloat ? "fp8" : code));
  setMember(json, "bits", jsonNumber(bits));
  setMember(json, "block", jsonNumber(block));
  if (hasZeros)
    setMember(json, "zeros", jsonBool(true));
  return json;
}

std::optional<Storage> Storage::parse(const Json &json) {
  Storage storage;
  if (const Json *terms = json.find("terms")) {
    for (const Json &term : terms->items) {
      bool *has = term.text == "base"      ? &storage.hasBase
                  : term.text == "factors" ? &storage.hasFactors
                  : term.text == "rows"    ? &storage.hasRows
                                           : nullptr;
      if (!has)
        return std::nullopt;
      *has = true;
    }
    if (const Json *scale = json.find("scale")) {
      auto number = finiteNumber(*scale);
      if (!number)
        return std::nullopt;
      storage.scale = *number;
    }
    return storage.isFactored() ? std::optional(storage) : std::nullopt;
  }
  const Json *code = json.find("code"), *bits = json.find("bits"),
             *block = json.find("block"), *zeros = json.find("zeros");
  if (!code || !bits || !block)
    return std::nullopt;
  storage.isFloat = code->text == "fp8";
  storage.code = storage.isFloat ? "int" : code->text;
  storage.bits = static_cast<int64_t>(bits->asUnsigned().value_or(0));
  storage.block =
      static_cast<int64_t>(block->asUnsigned().value_or(UINT32_MAX));
  storage.hasZeros = zeros && zeros->text == "true";
  bool isByte = storage.code == "int" && storage.bits == 8;
  bool isNibble = !storage.isFloat && storage.bits == 4;
  bool isKnown =
      storage.code == "int" || storage.code == "fp4" || storage.code == "nf4";
  if (!isKnown || !(isByte || isNibble) || storage.block > INT32_MAX ||
      (storage.hasZeros && (storage.isFloat || storage.code != "int")))
    return std::nullopt;
  return storage;
}
