// moe-bench MODEL.so --onnx MODEL.onnx --inputs FILE.npz: our time, a peer's,
// and their ratio, in one run.
#include "runtime/Runner/Load.h"
#include "runtime/Runner/Npz.h"
#include "tools/moe-bench/Limits.h"
#include "tools/moe-bench/Peer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace moe;

static const char *usage =
    "usage: moe-bench MODEL.so --inputs FILE.npz [options]\n"
    "  --threads N       threads for both (1)\n"
    "  --rounds N        blocks of five runs, ours and the peer's in turn (7)\n"
    "  --onnx FILE       the same model for the peer\n"
    "  --peer PROGRAM    python3 PROGRAM FILE INPUTS THREADS runs it on "
    "request\n"
    "                    (tools/moe-bench/peer_onnxruntime.py)\n"
    "  --python PROGRAM  interpreter for the peer (python3)\n";

static int fail(const std::string &why, int code = 1) {
  fprintf(stderr, "moe-bench: error: %s\n", why.c_str());
  return code;
}

static double median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int main(int argc, char **argv) {
  std::string model, inputs, onnx, peerProgram, python = "python3";
  int threads = 1, rounds = 7;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    auto value = [&]() -> const char * {
      if (i + 1 < argc)
        return argv[++i];
      fprintf(stderr, "moe-bench: error: %s needs a value\n%s", flag.c_str(),
              usage);
      exit(2);
    };
    if (flag == "--inputs")
      inputs = value();
    else if (flag == "--onnx")
      onnx = value();
    else if (flag == "--peer")
      peerProgram = value();
    else if (flag == "--python")
      python = value();
    else if (flag == "--threads")
      threads = atoi(value());
    else if (flag == "--rounds")
      rounds = atoi(value());
    else if (flag == "--help")
      return fputs(usage, stdout), 0;
    else if (flag[0] != '-' && model.empty())
      model = flag;
    else
      return fprintf(stderr, "moe-bench: error: unknown argument '%s'\n%s",
                     flag.c_str(), usage),
             2;
  }
  if (model.empty() || inputs.empty() || threads < 1 || rounds < 1)
    return fputs(usage, stderr), 2;

  auto api = rt::loadModel(model);
  if (!api)
    return fail(api.error().message);
  auto arrays = rt::readNpz(inputs);
  if (!arrays)
    return fail(arrays.error().message);
  const moe_api *moe = *api;
  moe_session_options options = {};
  options.size = sizeof options;
  options.threads = threads;
  moe_session *session = nullptr;
  if (moe->session_create(&options, &session) != MOE_OK)
    return fail(moe->error());
  for (const rt::Array &array : *arrays)
    if (moe->set_input(session, array.name.c_str(), &array.tensor) != MOE_OK)
      return fail(moe->error());

  bench::Peer peer;
  bool hasPeer = !peerProgram.empty() && !onnx.empty();
  std::string error;
  if (hasPeer &&
      !peer.start({python, peerProgram, onnx, inputs, std::to_string(threads)},
                  error))
    return fail(error);

  printf("this machine, one core: %.1f GFLOP/s (f32 FMA), %.1f GB/s (plain "
         "read)\n",
         bench::measureFmaPeak(), bench::measureReadBandwidth());
  std::vector<double> ours, theirs;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 6; ++i) {
      auto start = std::chrono::steady_clock::now();
      if (moe->run(session) != MOE_OK)
        return fail(moe->error());
      double ms = std::chrono::duration<double, std::milli>(
                      std::chrono::steady_clock::now() - start)
                      .count();
      if (i > 0) // the first run of a block warms the caches
        ours.push_back(ms);
    }
    if (!hasPeer)
      continue;
    auto times = peer.run(6);
    if (times.size() != 6)
      return fail("the peer ended early");
    theirs.insert(theirs.end(), times.begin() + 1, times.end());
    usleep(20000); // its threads stop spinning
  }
  printf("%-28s %10.3f ms median of %zu, %d thread%s\n", moe->name(),
         median(ours), ours.size(), threads, threads > 1 ? "s" : "");
  if (hasPeer) {
    printf("%-28s %10.3f ms\n", peer.name().c_str(), median(theirs));
    printf("ratio (peer's time / ours)   %10.2f\n",
           median(theirs) / median(ours));
  }
  moe->session_destroy(session);
  return 0;
}
