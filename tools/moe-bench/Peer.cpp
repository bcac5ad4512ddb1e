#include "tools/moe-bench/Peer.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::bench;

Peer::~Peer() {
  if (toChild >= 0)
    close(toChild); // the end of its input ends the peer
  if (fromChild >= 0)
    close(fromChild);
  if (child > 0)
    waitpid(child, nullptr, 0);
}

bool Peer::readLine(std::string &line) {
  while (true) {
    size_t end = pending.find('\n');
    if (end != std::string::npos) {
      line = pending.substr(0, end);
      pending.erase(0, end + 1);
      return true;
    }
    char buffer[4096];
    ssize_t n = read(fromChild, buffer, sizeof buffer);
    if (n <= 0)
      return false;
    pending.append(buffer, n);
  }
}

bool Peer::start(const std::vector<std::string> &command, std::string &error) {
  signal(SIGPIPE, SIG_IGN);
  int in[2], out[2];
  // Other children must not keep the ends open.
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
    error = std::string("cannot be started: ") + strerror(errno);
    return false;
  }
  child = fork();
  if (child == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    for (int fd : {in[0], in[1], out[0], out[1]})
      close(fd);
    std::vector<char *> arguments;
    for (const std::string &word : command)
      arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  toChild = in[1], fromChild = out[0];
  std::string line;
  while (child > 0 && readLine(line))
    if (line.rfind("ready ", 0) == 0) {
      title = line.substr(6);
      return true;
    }
  error = "did not get ready";
  return false;
}

std::vector<double> Peer::request(const std::string &text) {
  std::string request = text + "\n", line;
  if (write(toChild, request.data(), request.size()) !=
          static_cast<ssize_t>(request.size()) ||
      !readLine(line))
    return {};
  std::vector<double> times;
  char *at = line.data(), *end = nullptr;
  for (double t = strtod(at, &end); end != at; t = strtod(at, &end)) {
    times.push_back(t);
    at = end;
  }
  return times;
}
