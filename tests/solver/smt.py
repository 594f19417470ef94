#!/usr/bin/env python3
"""The solver cvc5 by its Python bindings, in the words of its program: for tests on machines that lack the program.

Takes `--version`, or commands in SMT-LIB on the standard input; answers each as soon as it is read.
Of the program's options only `--tlimit` means something here.
"""
import sys

import cvc5


def version():
    text = cvc5.Solver().getVersion()
    return text.decode() if isinstance(text, bytes) else text


def main():
    if "--version" in sys.argv:
        print(f"This is cvc5 version {version()}, by its Python bindings")
        return 0
    solver = cvc5.Solver()
    for option in sys.argv[1:]:
        if option.startswith("--tlimit="):
            solver.setOption("tlimit", option.split("=", 1)[1])
    parser = cvc5.InputParser(solver)
    parser.setIncrementalStringInput(cvc5.InputLanguage.SMT_LIB_2_6, "input")
    parser.appendIncrementalStringInput(sys.stdin.read())
    symbols = parser.getSymbolManager()
    while True:
        try:
            command = parser.nextCommand()
            if command.isNull():
                return 0
            answer = command.invoke(solver, symbols)
        except Exception as error:  # What the bindings raise differs by version.
            text = str(error).replace('"', '""')
            print(f'(error "{text}")', flush=True)
            return 1
        answer = answer.decode() if isinstance(answer, bytes) else str(answer or "")
        sys.stdout.write(answer)
        sys.stdout.flush()
        if answer.startswith("(error"):
            return 1


sys.exit(main())
