#include "tools/moe-bank/Manifests.h"

#include "runtime/Bank/LedgerTable.h"
#include "runtime/Core/Text.h"

#include <cstdio>
#include <cstdlib>

using namespace moe::rt;

static std::string textOf(const Json &manifest, const char *name) {
  const Json *value = manifest.find(name);
  return value && (value->isString() || value->kind == Json::Kind::Number)
             ? printable(value->text)
             : "unknown";
}

Status moe::listManifest(std::string_view manifest, const std::string &path) {
  auto failed = [&](const std::string &why) {
    return Status(Code::InvalidFile, quote(path) + ": " + why);
  };
  std::optional<Json> json = parseJson(manifest);
  if (!json || !json->isObject())
    return failed("its manifest is no JSON object");
  auto ledger = ledgerLines(*json);
  if (!ledger)
    return failed(ledger.error().message);
  auto front = frontLines(*json);
  if (!front)
    return failed(front.error().message);
  std::printf("compiled model for %s, fingerprint %s, %s parameters\n",
              textOf(*json, "target").c_str(),
              textOf(*json, "fingerprint").c_str(),
              textOf(*json, "parameters").c_str());
  if (!ledger->empty())
    std::printf("\ncompression:\n%s", ledgerTable(*ledger).c_str());
  if (!front->empty())
    std::printf("\nrecipes tried:\n%s", frontTable(*front).c_str());
  return {};
}
