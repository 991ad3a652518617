// written once the golden file is there
